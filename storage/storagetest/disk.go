package storagetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// SmallDisk mounts a file system of so many bytes for the test, which needs
// root.
func SmallDisk(t *testing.T, bytes int) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// FillDisk leaves that many bytes free and returns what undoes it.
func FillDisk(t *testing.T, disk string, leave int64) (free func()) {
	t.Helper()
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(disk, &fs))
	path := filepath.Join(disk, "filler")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-leave))
	return func() { require.NoError(t, os.Remove(path)) }
}
