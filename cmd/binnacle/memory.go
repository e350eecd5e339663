package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// initialisation is how long after the start its pages are given back: by
// then everything that is set up once has been set up.
const initialisation = 15 * time.Second

// releaseInitialisation gives back, once, the pages of the program file that
// only initialisation touched: tens of MB of code and tables of libraries, of
// which a running agent needs a third. The kernel maps them again from its
// cache when they are used. It changes nothing but the resident size.
func releaseInitialisation(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-time.After(initialisation):
		releaseProgramPages()
	}
	<-ctx.Done()
	return nil
}

// releaseProgramPages drops the mappings of all parts of the program file that
// cannot be written to. It is best effort: what fails stays resident.
func releaseProgramPages() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer func() { _ = maps.Close() }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if start, length, ok := readOnlyPart(lines.Text(), program); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, length, unix.MADV_DONTNEED)
		}
	}
}

// readOnlyPart parses a line of /proc/PID/maps, such as
//
//	00400000-02607000 r-xp 00000000 fe:00 131 /usr/bin/binnacle
//
// and tells whether it is a part of the program that is never written to:
// dropping anything else would lose data.
func readOnlyPart(line, program string) (start, length uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || strings.Join(fields[5:], " ") != program || fields[1] != "r-xp" && fields[1] != "r--p" {
		return 0, 0, false
	}
	var end uintptr
	if _, err := fmt.Sscanf(fields[0], "%x-%x", &start, &end); err != nil || end <= start {
		return 0, 0, false
	}
	return start, end - start, true
}
