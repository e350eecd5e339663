//go:build system

package functional

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the main of the init process when the binary is pid 1 of a
// virtual machine.
func TestMain(m *testing.M) {
	if os.Getpid() != 1 {
		os.Exit(m.Run())
	}
	code := 3
	if err := prepareMachine(); err != nil {
		fmt.Println("prepare the machine:", err)
	} else {
		code = m.Run()
	}
	fmt.Printf("\nbinnacle-exit %d\n", code)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("power off:", err)
	}
}

// inMachine tells that the tests run in the virtual machine, emulated perhaps
// and slow by a factor of 10 to 20.
func inMachine() bool { return os.Getpid() == 1 }

// prepareMachine mounts the kernel's file systems, delegates all controllers
// and loads the modules of the block device.
func prepareMachine() error {
	for _, m := range []struct{ source, target, kind string }{
		{"proc", "/proc", "proc"},
		{"sysfs", "/sys", "sysfs"},
		{"devtmpfs", "/dev", "devtmpfs"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2"},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte(delegated), 0); err != nil {
		return err
	}
	modules, err := os.ReadFile("/modlist")
	if err != nil {
		return err
	}
	for path := range strings.FieldsSeq(string(modules)) {
		if err := loadModule(path); err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	for range 100 {
		if _, err := os.Stat("/dev/vda"); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("/dev/vda does not appear")
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
