package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// ErrNoUpperDir says that the root of a process is no overlay with a writable
// layer: another storage driver, or a read-only one.
var ErrNoUpperDir = errors.New("root is not an overlay mount with an upperdir")

// UpperDir returns the directory that holds what a container has written: the
// upperdir of the overlay mounted at the root of pid, as a path in the mount
// namespace of the runtime that mounted it, which is the host's.
// errors.Is(err, ErrNoUpperDir) when there is none.
func (f *FS) UpperDir(pid int) (string, error) {
	path := f.path(pid, "mountinfo")
	file, err := os.Open(path)
	if err != nil {
		return "", f.fail(pid, path, err)
	}
	defer file.Close()
	roots, err := mountinfo.GetMountsFromReader(file, func(m *mountinfo.Info) (skip, stop bool) {
		return m.Mountpoint != "/", false
	})
	if err != nil {
		return "", f.fail(pid, path, err)
	}
	// The last mount at / hides those before it.
	if len(roots) > 0 && roots[len(roots)-1].FSType == "overlay" {
		if upper := upperDir(roots[len(roots)-1].VFSOptions); upper != "" {
			return upper, nil
		}
	}
	if f.ended(pid) { // a zombie has no mounts
		return "", fmt.Errorf("%w: %s", ErrGone, path)
	}
	return "", fmt.Errorf("%s: %w", path, ErrNoUpperDir)
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
		path := unescapeOctal([]byte(value))
		for i := 0; i < len(path); i++ {
			if path[i] == '\\' {
				path = append(path[:i], path[i+1:]...)
			}
		}
		return string(path)
	}
	return ""
}

// unescapeOctal turns three octal digits after a backslash back into a byte
// and leaves everything else alone.
func unescapeOctal(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
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
	return out
}
