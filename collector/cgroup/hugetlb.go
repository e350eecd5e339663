package cgroup

import (
	"cmp"
	"os"
	"slices"
	"strings"
)

// hugeSource is what there is to read about one page size. The sizes differ
// by machine and are known from the names of the files.
type hugeSource struct {
	pageSize     string
	reserved     bool
	usage        source
	peak, failed source // without a name where the version has none
}

// hugeFiles are the files of one page size in one group. Guarded by Group.mu.
type hugeFiles struct {
	usage, peak, failed file
	last                Hugetlb
}

// each calls f for every file.
func (h *hugeFiles) each(f func(*file)) {
	f(&h.usage)
	f(&h.peak)
	f(&h.failed)
}

// hugeSources finds the page sizes among the file names of a directory of
// the hugetlb controller:
//
//	v1: hugetlb.2MB.usage_in_bytes  hugetlb.2MB.max_usage_in_bytes  hugetlb.2MB.failcnt
//	v2: hugetlb.2MB.current  hugetlb.2MB.events
//
// and the same with .rsvd before the last part.
func hugeSources(names []string, hier int, v2 bool) []hugeSource {
	usage := ".usage_in_bytes"
	if v2 {
		usage = ".current"
	}
	var out []hugeSource
	for _, n := range names {
		size, ok := strings.CutPrefix(n, "hugetlb.")
		if !ok {
			continue
		}
		if size, ok = strings.CutSuffix(size, usage); !ok {
			continue
		}
		size, reserved := strings.CutSuffix(size, ".rsvd")
		out = append(out, newHugeSource(strings.TrimSuffix(n, usage), size, reserved, hier, v2))
	}
	slices.SortFunc(out, func(a, b hugeSource) int {
		if c := cmp.Compare(a.pageSize, b.pageSize); c != 0 {
			return c
		}
		return cmp.Compare(len(a.usage.name), len(b.usage.name))
	})
	return out
}

func newHugeSource(prefix, size string, reserved bool, hier int, v2 bool) hugeSource {
	mk := func(name string, kind sourceKind) source {
		return source{ctrl: ctrlHugetlb, name: prefix + name, set: SetHugetlb, kind: kind, hier: hier, unlessAt: -1}
	}
	h := hugeSource{pageSize: size, reserved: reserved}
	switch {
	case !v2:
		h.usage = mk(".usage_in_bytes", eachTime)
		h.peak, h.failed = mk(".max_usage_in_bytes", seldom), mk(".failcnt", seldom)
	case reserved: // v2 has no events of reservations
		h.usage = mk(".current", eachTime)
	default:
		h.usage, h.failed = mk(".current", eachTime), mk(".events", seldom)
	}
	return h
}

// findHugeSources looks for a directory that has hugetlb files. On v1 that is
// the root; on v2 the root has none, and if any group has, then those directly
// below the root have, because controllers are enabled from the top.
func (t *Tree) findHugeSources(dirs []string) {
	h := t.layout.find(ctrlHugetlb)
	if h < 0 || t.huge.Load() != nil {
		return
	}
	for _, id := range dirs {
		if strings.Count(id, "/") > 1 {
			continue
		}
		entries, err := os.ReadDir(t.layout.hiers[h].path(id))
		if err != nil {
			continue
		}
		names := make([]string, 0, len(entries))
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if found := hugeSources(names, h, t.layout.hiers[h].v2); len(found) > 0 {
			t.huge.Store(&found)
			return
		}
	}
}

// hugeSources returns what was found, nil until then.
func (t *Tree) hugeSources() []hugeSource {
	if p := t.huge.Load(); p != nil {
		return *p
	}
	return nil
}

// readHugetlb reads the usage of each page size, and peak and failures when
// pages are or were in use or configuration is looked at: mostly all are zero
// forever. g.mu is held.
func (g *Group) readHugetlb(r *reading) {
	sources := g.tree.hugeSources()
	if g.huge == nil && len(sources) > 0 {
		g.huge = make([]hugeFiles, len(sources))
		for i := range g.huge {
			g.huge[i].last = noHugetlb
			g.huge[i].last.PageSize, g.huge[i].last.Reserved = sources[i].pageSize, sources[i].reserved
		}
	}
	for i := range g.huge {
		h, src := &g.huge[i], &sources[i]
		before := h.last.Usage
		if !g.readHugeFile(r, &h.usage, &src.usage, &h.last.Usage) {
			continue
		}
		if r.seldom || h.last.Usage != 0 || before != 0 {
			g.readHugeFile(r, &h.peak, &src.peak, &h.last.MaxUsage)
			g.readHugeFile(r, &h.failed, &src.failed, &h.last.FailCount)
		}
		r.s.Hugetlb = append(r.s.Hugetlb, h.last)
	}
}

// readHugeFile reads one number, or the one behind "max " in v2 events.
func (g *Group) readHugeFile(r *reading, f *file, src *source, dst *uint64) bool {
	if src.name == "" {
		return false
	}
	b, err := g.load(r, f, src)
	if err != nil {
		g.note(r, src, err)
		return false
	}
	r.seen = true
	v := [1]uint64{None}
	ok := number(b, &v[0])
	if !ok {
		ok = g.tree.parser.maxEvent.parse(b, v[:]) && v[0] != None
	}
	if !ok {
		g.note(r, src, errParse)
		return false
	}
	r.got |= SetHugetlb
	*dst = v[0]
	return true
}
