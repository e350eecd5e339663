package tail

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// identity is what the name of a log file tells about its writer.
type identity struct {
	namespace, pod, uid, container string
	// containerID is that of Docker's folders, where names tell nothing else.
	containerID string
	// filename is set for plain files alone.
	filename string
}

// parsePodDir splits "<namespace>_<pod>_<uid>". Neither namespaces nor names
// of pods contain underscores.
func parsePodDir(name string) (identity, bool) {
	parts := strings.Split(name, "_")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return identity{}, false
	}
	return identity{namespace: parts[0], pod: parts[1], uid: parts[2]}, true
}

// parseLinkName splits "<pod>_<namespace>_<container>-<container id>.log", as
// links in /var/log/containers are named.
func parseLinkName(name string) (identity, bool) {
	parts := strings.Split(strings.TrimSuffix(name, ".log"), "_")
	if len(parts) != 3 {
		return identity{}, false
	}
	i := strings.LastIndexByte(parts[2], '-')
	if i <= 0 {
		return identity{}, false
	}
	return identity{
		namespace: parts[1], pod: parts[0], container: parts[2][:i], containerID: parts[2][i+1:],
	}, true
}

// place is where the generations of a lane lie.
type place struct {
	dir string
	// base is the name of the file that is written to, or "" in the folder of
	// a pod's container, where each restart has its own.
	base string
}

// logName is a file name of a lane taken apart.
type logName struct {
	// base is the name of the file that is, or was, written to.
	base string
	// restart is the kubelet's number, "" for other files.
	restart string
	// order sorts the generations of a lane, oldest first.
	order string
	// rotated is false for the file that is written to.
	rotated bool
	gzip    bool
}

// parse takes a file's name apart. false means that it is not one of ours, for
// example the temporary file of a compression that goes on.
func (p place) parse(name string) (logName, bool) {
	if p.base != "" {
		return parseRotation(p.base, name)
	}
	restart, rest, ok := strings.Cut(name, ".log")
	if !ok || !isDigits(restart) || len(restart) > 9 {
		return logName{}, false
	}
	n, ok := parseRotation(restart+".log", restart+".log"+rest)
	if !ok {
		return logName{}, false
	}
	n.restart = restart
	n.order = fmt.Sprintf("%09s", restart) + n.order
	return n, true
}

// parseRotation knows "base", "base.1", "base.2.gz" (higher is older) and
// "base-20261127", "base.20261127-123456.gz" (later is newer).
func parseRotation(base, name string) (logName, bool) {
	rest, ok := strings.CutPrefix(name, base)
	if !ok {
		return logName{}, false
	}
	n := logName{base: base}
	if rest == "" {
		n.order = "~" // after every digit and letter
		return n, true
	}
	rest, n.gzip = strings.CutSuffix(rest, ".gz")
	n.rotated = true
	if len(rest) < 2 || rest[0] != '.' && rest[0] != '-' || !isStamp(rest[1:]) {
		return logName{}, false
	}
	suffix := rest[1:]
	if number, err := strconv.Atoi(suffix); err == nil && len(suffix) <= maxRotationDigits {
		n.order = fmt.Sprintf("n%05d", 99999-number)
	} else {
		n.order = "s" + suffix
	}
	return n, true
}

// maxRotationDigits tells the number of a rotation from a date.
const maxRotationDigits = 4

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c-'0' > 9 {
			return false
		}
	}
	return s != ""
}

// isStamp allows what rotators write as a number, a date or a time.
func isStamp(s string) bool {
	digits := false
	for _, c := range []byte(s) {
		switch {
		case c-'0' <= 9:
			digits = true
		case strings.IndexByte("-.:_TZ", c) < 0:
			return false
		}
	}
	return digits
}

// splitRotation returns the name of the file that name was rotated from, or
// name itself.
func splitRotation(name string) string {
	rest := strings.TrimSuffix(name, ".gz")
	i := strings.LastIndexAny(rest, ".-")
	for i > 0 && isStamp(rest[i+1:]) {
		name = rest[:i]
		rest = name
		i = strings.LastIndexAny(rest, ".-")
	}
	return name
}

// plainLane is the place of a plain file, whichever generation path names.
func plainLane(path string) place {
	return place{dir: filepath.Dir(path), base: splitRotation(filepath.Base(path))}
}
