// Command worker is what the functional tests run in their cgroups. It is a
// program of its own because the test binary takes a second to start in an
// emulated machine, and 10 MB of memory.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// main joins the cgroups of the directories in BINNACLE_TEST_JOIN and does the
// job that the arguments say.
func main() { os.Exit(work(os.Args[1:])) }

// jobs are what a worker can do once it has joined its cgroup. Those that
// return an error exit with it; the others end by a signal.
var jobs = map[string]func(args []string) error{
	"idle":  func([]string) error { ready(); return pause() },
	"burn":  func([]string) error { ready(); burn(time.Hour); return nil },
	"alloc": allocate,
	"oom":   exhaust,
	"write": writeDirect,
	"forks": forkUntilRefused,
	"short": liveShortly,
}

func work(args []string) int {
	for dir := range strings.FieldsSeq(os.Getenv("BINNACLE_TEST_JOIN")) {
		// 0 stands for the writing process, all its threads included.
		if err := os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0); err != nil {
			fmt.Println("join:", err)
			return 1
		}
	}
	if len(args) == 0 || jobs[args[0]] == nil {
		fmt.Println("no such job:", args)
		return 2
	}
	if err := jobs[args[0]](args[1:]); err != nil {
		fmt.Println(args, err)
		return 1
	}
	return 0
}

// ready tells the test that the work proper begins or is done.
func ready() { fmt.Println("ready") }

func pause() error {
	for {
		if err := unix.Pause(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func burn(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for i := range 100_000 {
			_ = i * i
		}
	}
}

// touch maps size bytes and writes to each page.
func touch(size int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	for i := 0; i < size; i += 4096 {
		memory[i] = 1
	}
	return memory, nil
}

// allocate MIB: hold so much memory.
func allocate(args []string) error {
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if _, err := touch(mib << 20); err != nil {
		return err
	}
	ready()
	return pause()
}

// exhaust allocates until the kernel kills the process.
func exhaust([]string) error {
	ready()
	for {
		if _, err := touch(1 << 20); err != nil {
			return err
		}
	}
}

// blockSize is what writeDirect writes at once.
const blockSize = 64 << 10

// writeDirect PATH BLOCKS: write blocks past the page cache.
func writeDirect(args []string) error {
	blocks, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block, err := touch(blockSize) // page aligned, as O_DIRECT wants it
	if err != nil {
		return err
	}
	for range blocks {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	ready()
	return pause()
}

// forkUntilRefused starts idle children until the pids limit refuses one.
func forkUntilRefused([]string) error {
	for range 100 {
		child := exec.Command(os.Args[0], "idle")
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := child.Start(); err != nil {
			ready()
			return pause()
		}
		time.Sleep(20 * time.Millisecond) // let its threads come up
	}
	return errors.New("100 children and no refusal")
}

// liveShortly MILLISECONDS MIB: hold memory, use CPU, exit.
func liveShortly(args []string) error {
	ms, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	mib, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	end := time.Now().Add(time.Duration(ms) * time.Millisecond)
	if _, err := touch(mib << 20); err != nil {
		return err
	}
	burn(time.Until(end) / 4)
	time.Sleep(time.Until(end))
	return nil
}
