package main

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/collector/cgroup"
)

const (
	readContainers = 200
	readRounds     = 60
)

// measureRead compares reading and parsing all default files of a container
// with pread of the same files on kept descriptors, round by round.
func measureRead(context.Context) (rows []row, err error) {
	c, err := startContainers(readContainers)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	tree, err := cgroup.Open(cgroup.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	var groups []*cgroup.Group
	for _, g := range tree.Groups(nil) {
		if strings.Count(g.ID(), "/") == 2 && strings.HasPrefix(g.ID(), "/binnacle-bench-") {
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
	n := float64(len(groups)) / 1e6
	return []row{atMost(row{
		Name: "read and parse a container, v1, 200 cgroups", Unit: "CPU-µs per container",
		Ours: median(ours) / n, Reference: median(bare) / n, ReferenceName: "pread of the same files",
	}, 2)}, nil
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
