package cgroup

import (
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// walk discovers everything from the roots.
func (l *loop) walk() {
	for _, h := range l.t.layout.primary {
		l.discover(h, "/")
	}
	l.t.findHugeSources(l.ids())
}

// rescanAll walks again, takes away what is no longer there and looks at the
// processes of every group: what inotify could not or did not tell.
func (l *loop) rescanAll(why string) {
	l.t.counts.rescans.Add(1)
	l.t.log.Debug("walking all cgroups", "reason", why)
	l.in.full = l.in.fd < 0
	for _, g := range l.t.Groups(nil) {
		for _, h := range l.t.layout.primary {
			if g.watch.ino[h] != 0 {
				l.gone(h, g.id)
			}
		}
	}
	l.walk()
	for _, g := range l.t.Groups(nil) {
		l.check(g, "check")
	}
	l.lastRescan = time.Now()
}

// ids lists the present groups.
func (l *loop) ids() []string {
	var out []string
	for _, g := range l.t.Groups(nil) {
		out = append(out, g.id)
	}
	return out
}

// discover takes in a directory and everything below. The watch comes before
// the listing: a child made in between is in one of them or in both.
func (l *loop) discover(h int, id string) {
	dir := l.t.layout.hiers[h].path(id)
	if !l.in.add(place{h, id}, dir) && l.t.counts.refused.Add(1) == 1 {
		l.t.log.Warn("no inotify watch to be had; what changes there is found by walking (see fs.inotify.max_user_watches)",
			"dir", dir, "watches", len(l.in.byWD), "interval", degradedRescan)
	}
	l.t.counts.watches.Store(int64(len(l.in.byWD)))
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		l.in.remove(place{h, id})
		l.t.counts.missed.Add(1)
		return
	}
	g := l.t.get(id)
	if g != nil && g.watch.ino[h] != 0 && g.watch.ino[h] != st.Ino {
		// Removed and made again: another group.
		for _, d := range l.t.below(id) {
			l.drop(d)
		}
		l.drop(g)
		g = nil
	}
	if g == nil {
		g = l.add(id)
	}
	if g.watch.ino[h] == 0 {
		g.stale.Store(true) // what was written before the watch was not noticed
	}
	g.watch.ino[h] = st.Ino
	if l.handler != nil {
		l.check(g, "check")
		l.watchYoung(g)
	}
	// A directory's link count is 2 and one for each directory in it; some
	// file systems always say 1.
	if st.Nlink != 2 {
		l.discoverChildren(h, id, dir)
	}
}

func (l *loop) discoverChildren(h int, id, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil && len(entries) == 0 {
		return // gone meanwhile; its removal is announced
	}
	for _, e := range entries {
		if e.IsDir() && (id != "/" || !l.t.layout.has(dir+"/"+e.Name())) {
			l.discover(h, path.Join(id, e.Name()))
		}
	}
}

// add makes a group known.
func (l *loop) add(id string) *Group {
	g := newGroup(l.t, id, time.Now())
	for i := range l.t.layout.hiers {
		// The files' time stamps: a directory's changes with its children.
		dir := l.t.layout.hiers[i].path(id)
		g.created = oldest(oldest(g.created, dir), dir+"/"+procsFile)
	}
	l.t.insert(g)
	l.t.findHugeSources([]string{id})
	if l.handler != nil {
		l.handler.Added(g)
	}
	return g
}

// gone handles the news that a directory was removed, which may be old.
func (l *loop) gone(h int, id string) {
	g := l.t.get(id)
	if g == nil {
		return
	}
	var st unix.Stat_t
	if err := unix.Lstat(l.t.layout.hiers[h].path(id), &st); err == nil {
		if st.Ino != g.watch.ino[h] {
			l.discover(h, id)
		}
		return
	}
	// The news of what was below may come later, and would not be understood
	// any more without this directory's watch.
	for _, d := range l.t.below(id) {
		if d.watch.ino[h] != 0 {
			l.gone(h, d.id)
		}
	}
	l.in.remove(place{h, id})
	g.watch.ino[h] = 0
	if !g.watch.present() {
		l.drop(g)
		return
	}
	if g.watch.alive {
		// Only empty directories can be removed, and another one is left.
		l.check(g, "rmdir")
	}
}

// drop takes a group away, whether its directories still exist or not.
func (l *loop) drop(g *Group) {
	w := &g.watch
	switch {
	case w.alive, w.ever && g.read.Load() == w.readAt:
		l.t.counts.removedUnread.Add(1)
	case !w.ever:
		l.t.counts.removedUnseen.Add(1)
	}
	l.unwatchGroup(g)
	for h := range w.ino {
		l.in.remove(place{h, g.id})
	}
	l.t.counts.watches.Store(int64(len(l.in.byWD)))
	l.t.remove(g)
	g.close()
	if l.handler != nil {
		l.handler.Removed(g)
	}
	if w.alive {
		w.alive = false
		l.childEmptied(g)
	}
}
