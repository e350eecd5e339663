package main

import (
	"errors"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

const (
	readContainers = 200
	readRounds     = 60
	// settle is how long young cgroups are read more thoroughly than others.
	settle = 10 * time.Second
)

// benchRead compares reading and parsing all default files of a container
// with pread of the same files on kept descriptors, round by round.
func benchRead() (rows []result, err error) {
	f, err := newFleet(readContainers)
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return nil, err
	}
	tree, err := cgroup.Open(cgroup.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	var groups []*cgroup.Group
	for _, g := range tree.Groups(nil) {
		if slices.Contains(f.ids, g.ID()) {
			groups = append(groups, g)
		}
	}
	var s cgroup.Stats
	for _, g := range groups { // opens the descriptors
		if err := g.Read(&s, cgroup.SetDefault); err != nil {
			return nil, err
		}
	}
	floor, err := openFloor(groups)
	if err != nil {
		return nil, err
	}
	defer floor.close()

	time.Sleep(settle)

	var ours, bare []float64
	for range readRounds {
		cpu, err := onThread(floor.read)
		if err != nil {
			return nil, err
		}
		bare = append(bare, cpu)
		cpu, err = onThread(func() error {
			for _, g := range groups {
				if err := g.Read(&s, cgroup.SetDefault); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		ours = append(ours, cpu)
	}
	each := 1e6 / float64(len(groups))
	return []result{versus("read and parse a container, 200 containers", "CPU-µs",
		median(ours)*each, median(bare)*each, "pread of the same files", 2)}, nil
}

// onThread returns the CPU seconds that f takes.
func onThread(f func() error) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadCPU()
	err := f()
	return (threadCPU() - start).Seconds(), err
}

// floor are kept descriptors of the files that a reading takes.
type floor struct {
	fds []int
	buf []byte
}

func openFloor(groups []*cgroup.Group) (*floor, error) {
	f := &floor{buf: make([]byte, 16<<10)}
	for _, g := range groups {
		for _, path := range g.Files(cgroup.SetDefault) {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				f.close()
				return nil, err
			}
			f.fds = append(f.fds, fd)
		}
	}
	return f, nil
}

func (f *floor) read() error {
	for _, fd := range f.fds {
		if _, err := unix.Pread(fd, f.buf, 0); err != nil {
			return err
		}
	}
	return nil
}

func (f *floor) close() {
	for _, fd := range f.fds {
		_ = unix.Close(fd)
	}
}
