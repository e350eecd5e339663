package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Mount is one line of mountinfo.
type Mount struct {
	ID, Parent   int
	Major, Minor uint32
	Root         string // the directory of the file system that is mounted
	MountPoint   string // as seen from the root of the process
	Type         string // such as ext4, fuse.sshfs
	Source       string // such as /dev/vda1, or whatever the mounter said
	Options      string // of the file system, comma-separated, still escaped
}

// ErrNoUpperDir says that the root of a process is no overlay with a writable
// layer: another storage driver, or a read-only one.
var ErrNoUpperDir = errors.New("root is not an overlay mount with an upperdir")

// Mounts reads /proc/PID/mountinfo. Lines that cannot be understood are left
// out and named by the error, which comes with the other mounts.
func (f *FS) Mounts(pid int) ([]Mount, error) {
	return f.mounts(pid, f.path(pid, "mountinfo"))
}

// HostMounts reads the mounts of process 1, or our own where those may not
// be read. of names the directory below root that it read: "1" or "self".
func (f *FS) HostMounts() (mounts []Mount, of string, err error) {
	mounts, err = f.Mounts(1)
	if len(mounts) > 0 {
		return mounts, "1", err
	}
	mounts, ownErr := f.mounts(os.Getpid(), f.root+"/self/mountinfo")
	if len(mounts) == 0 {
		return nil, "", errors.Join(err, ownErr)
	}
	return mounts, "self", ownErr
}

func (f *FS) mounts(pid int, path string) ([]Mount, error) {
	var (
		mounts []Mount
		bad    error
	)
	err := f.scan(pid, path, func(line []byte) error {
		m, err := parseMount(line)
		if err == nil {
			mounts = append(mounts, m)
		} else if bad == nil {
			bad = fmt.Errorf("parse %s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return mounts, bad
}

// UpperDir returns the directory that holds what a container has written: the
// upperdir of the overlay mounted at the root of pid, as a path in the mount
// namespace of the runtime that mounted it, which is the host's.
// errors.Is(err, ErrNoUpperDir) when there is none.
func (f *FS) UpperDir(pid int) (string, error) {
	var upper string
	err := f.eachLine(pid, "mountinfo", func(line []byte) error {
		m, err := parseMount(line)
		// The last mount at / is the one that counts; it hides those before.
		if err != nil || m.MountPoint != "/" {
			return nil
		}
		upper = ""
		if m.Type == "overlay" {
			upper = upperDir(m.Options)
		}
		return nil
	})
	if err == nil && upper == "" {
		return "", f.fail(pid, f.path(pid, "mountinfo"), ErrNoUpperDir)
	}
	return upper, err
}

// upperDir finds upperdir= in the options of an overlay mount. A path is
// escaped twice: commas, colons and backslashes by the mounter with a
// backslash, then that and more by the kernel in octal ("a,b" is a\134\054b).
func upperDir(options string) string {
	for option := range strings.SplitSeq(options, ",") {
		value, ok := strings.CutPrefix(option, "upperdir=")
		if !ok {
			continue
		}
		path := []byte(unescape([]byte(value)))
		for i := 0; i < len(path); i++ {
			if path[i] == '\\' {
				path = append(path[:i], path[i+1:]...)
			}
		}
		return string(path)
	}
	return ""
}

// parseMount reads a line of this kind, where blanks inside a field are
// escaped and the optional fields before "-" may be missing:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line []byte) (Mount, error) {
	head, tail, ok := bytes.Cut(line, []byte(" - "))
	first, last := bytes.Fields(head), bytes.SplitN(tail, []byte(" "), 3)
	if !ok || len(first) < 6 || len(last) < 3 {
		return Mount{}, fmt.Errorf("want 6 or more fields, \" - \" and 3 fields, have %q", line)
	}
	id, idErr := strconv.Atoi(string(first[0]))
	parent, parentErr := strconv.Atoi(string(first[1]))
	majorText, minorText, _ := bytes.Cut(first[2], []byte(":"))
	major, majorErr := strconv.ParseUint(string(majorText), 10, 32)
	minor, minorErr := strconv.ParseUint(string(minorText), 10, 32)
	if err := errors.Join(idErr, parentErr, majorErr, minorErr); err != nil {
		return Mount{}, fmt.Errorf("mount %q: %w", line, err)
	}
	return Mount{
		ID: id, Parent: parent, Major: uint32(major), Minor: uint32(minor),
		Root: unescape(first[3]), MountPoint: unescape(first[4]),
		Type: unescape(last[0]), Source: unescape(last[1]), Options: string(last[2]),
	}, nil
}

// unescape turns the kernel's three octal digits after a backslash back into
// bytes and leaves everything else alone.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) {
			if v, err := strconv.ParseUint(string(b[i+1:i+4]), 8, 8); err == nil {
				out = append(out, byte(v))
				i += 3
				continue
			}
		}
		out = append(out, b[i])
	}
	return string(out)
}
