//go:build system

package functional

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The block device that the test writes to: its number as in the kernel's
// files, its path, and the file that is written. Set by findDisk.
var diskNumber, diskPath, diskFile string

// findDisk picks the device: the raw disk of the virtual machine, or that of
// a folder for temporary files.
func findDisk(t testing.TB) {
	t.Helper()
	if inMachine() {
		var st unix.Stat_t
		if err := unix.Stat("/dev/vda", &st); err != nil {
			t.Fatal(err)
		}
		diskPath, diskFile = "/dev/vda", "/dev/vda"
		diskNumber = fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		return
	}
	for _, dir := range []string{os.TempDir(), "/var/tmp", "."} {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			continue
		}
		// I/O is counted for the whole disk, not for the partition.
		sys, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
		if err != nil {
			continue
		}
		if _, err := os.Stat(sys + "/partition"); err == nil {
			sys = filepath.Dir(sys)
		}
		number, err := os.ReadFile(sys + "/dev")
		if err != nil {
			continue
		}
		f, err := os.CreateTemp(dir, "binnacle-direct-*")
		if err != nil {
			continue
		}
		f.Close()
		t.Cleanup(func() { os.Remove(f.Name()) })
		diskNumber, diskPath, diskFile = strings.TrimSpace(string(number)), "/dev/"+filepath.Base(sys), f.Name()
		return
	}
	t.Fatal("no folder for temporary files is on a block device")
}
