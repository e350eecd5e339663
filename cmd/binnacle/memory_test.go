package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadOnlyPart(t *testing.T) {
	const program = "/usr/bin/a program"
	for line, want := range map[string]uintptr{
		"00400000-00402000 r-xp 00000000 fe:00 131                        /usr/bin/a program":           0x2000,
		"00402000-00403000 r--p 00002000 fe:00 131                        /usr/bin/a program":           0x1000,
		"00403000-00404000 rw-p 00003000 fe:00 131                        /usr/bin/a program":           0,
		"00403000-00404000 r--s 00003000 fe:00 131                        /usr/bin/a program":           0,
		"00403000-00404000 r--p 00003000 fe:00 131                        /usr/bin/a program (deleted)": 0,
		"00403000-00404000 r--p 00003000 fe:00 131                        /usr/lib/libc.so":             0,
		"c000000000-c000400000 r--p 00000000 00:00 0":                                                   0,
		"nonsense r--p 00000000 fe:00 131 /usr/bin/a program":                                           0,
		"": 0,
	} {
		_, length, ok := readOnlyPart(line, program)
		require.Equal(t, want != 0, ok, line)
		require.Equal(t, want, length, line)
	}
}

// The process goes on with fewer pages of its program file.
func TestReleaseProgramPages(t *testing.T) {
	before := residentFilePages(t)
	releaseProgramPages()
	require.Less(t, residentFilePages(t), before)
}

// residentFilePages is the kernel's RssFile, in KiB.
func residentFilePages(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "RssFile:")
	require.True(t, found)
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib
}
