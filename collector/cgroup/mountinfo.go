package cgroup

import (
	"os"
	"strings"
)

// mount is one line of mountinfo, as far as it matters here.
type mount struct {
	point, fstype, options string
}

// readMounts reads mountinfo. It only helps to tell what directories are, so
// that a file that is not there or not readable is as good as an empty one.
func readMounts(path string) []mount {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseMounts(string(b))
}

// parseMounts reads the format of proc_pid_mountinfo(5), lines that do not
// have it being skipped:
//
//	35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.SplitSeq(text, "\n") {
		head, tail, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(head), strings.Fields(tail)
		if !ok || len(f) < 5 || len(g) < 3 {
			continue
		}
		out = append(out, mount{point: unescapeMount(f[4]), fstype: g[0], options: g[2]})
	}
	return out
}

// unescapeMount undoes the octal escapes of blanks and backslashes.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
