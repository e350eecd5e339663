package tail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// part writes a part of a line, tag P, or its end, F.
func (a *app) part(output, tag, text string) {
	a.n++
	_, err := a.f.WriteString(criText(a.n, output, tag, text))
	require.NoError(a.t, err)
}

// splitLine writes a line of each output in parts with a rotation between
// them. A long one goes on through a whole generation.
func (a *app) splitLine(i int, compressed bool) {
	text := fmt.Sprintf("%s split %d", a.name, i)
	a.want = append(a.want, text+" begin, middle, end", text+" on stderr")
	a.part("stdout", "P", text+" begin, ")
	if i%3 == 0 {
		a.rotateOnce(2*i, compressed)
	}
	a.part("stderr", "P", text)
	a.part("stdout", "P", "middle, ")
	a.rotateOnce(2*i+1, compressed)
	a.part("stderr", "F", " on stderr")
	a.part("stdout", "F", "end")
}

func (a *app) rotateOnce(i int, compressed bool) {
	to := fmt.Sprintf("%s.20261127-12%04d", a.path, i)
	a.rotate(to)
	if compressed {
		compress(a.t, to, true)
	}
}

func TestLinesSplitByRotation(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprintf("compressed=%t", compressed), func(t *testing.T) {
			r := newRig(t, ackLate)
			a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
			a.write(1)
			r.start()
			for i := range 6 {
				a.splitLine(i, compressed)
				a.write(i)
				if i == 3 {
					r.requireLines(a)
				}
			}
			r.requireLines(a)
			require.Zero(t, r.counter("binnacle_tail_truncated_lines_total"))
			r.settled()
			r.wait("rotations closed", func() bool { return len(r.tailer.Files()) == 1 })
			r.stop()
			dropped := r.sink.dropped
			r.start()
			a.write(1)
			r.requireLines(a)
			require.Equal(t, dropped, r.sink.dropped, "nothing is read again")
		})
	}
}

// Crashes fall between the parts, the joined record and its acknowledgement:
// it is the same record again, and none of its parts is one.
func TestCrashesWithinSplitLines(t *testing.T) {
	r := newRig(t, ackLate)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	r.start()
	for i := range 8 {
		a.splitLine(i, false)
		if rand.IntN(2) == 0 {
			a.part("stdout", "F", "between")
			a.want = append(a.want, "between")
		}
		for range rand.IntN(30) {
			time.Sleep(10 * time.Millisecond)
			r.sink.ackSome(false)
		}
		r.crash()
		r.start()
	}
	r.requireLines(a)
	for _, rec := range r.sink.all() {
		require.Zero(t, rec.Flags, "%s", rec.Line)
	}
}

// The first part stays what is read from next until the whole is acknowledged.
func TestPositionOfSplitLine(t *testing.T) {
	r := newRig(t, ackLate)
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(1)
	first := int64(len(criText(0, "stdout", "F", a.want[0])))
	a.part("stdout", "P", "begin, ")
	a.rotateOnce(0, false)
	a.part("stdout", "F", "end")
	a.want = append(a.want, "begin, end")
	r.start()
	r.wait("the line", func() bool { r.sink.mu.Lock(); defer r.sink.mu.Unlock(); return len(r.sink.records) == 2 })
	rec := r.sink.all()[1]
	require.Equal(t, r.sink.all()[0].Source, rec.Source)
	require.Equal(t, first, rec.Offset)
	for _, p := range r.tailer.keeper.of(filepath.Dir(a.path)) {
		r.tailer.keeper.mu.Lock()
		next := p.Resume.Outputs[stdout].Next
		r.tailer.keeper.mu.Unlock()
		require.LessOrEqual(t, next, first)
	}
	r.requireLines(a)
	r.settled()
}

// Another start of the container, or the end of everything, does not continue
// a line.
func TestSplitLineThatNothingContinues(t *testing.T) {
	r := newRig(t, ackNow)
	dir := r.container("cart", "app")
	a := newApp(t, "a", filepath.Join(dir, "0.log"))
	a.part("stdout", "P", "begin, ")
	a.rotateOnce(0, false)
	a.part("stderr", "F", "other output")
	a.part("stderr", "P", "lost ")
	b := newApp(t, "b", filepath.Join(dir, "1.log"))
	b.part("stdout", "F", "end")
	r.start()
	r.waitRecords(4)
	require.NoError(t, os.RemoveAll(filepath.Dir(dir)))
	r.wait("all closed", func() bool { return len(r.tailer.Files()) == 0 })
	got := make(map[string]storage.RecordFlags)
	for _, rec := range r.sink.all() {
		got[strings.TrimSpace(string(rec.Line))] = rec.Flags
	}
	require.Equal(t, map[string]storage.RecordFlags{
		"begin,": storage.FlagTruncated, "other output": 0, "lost": storage.FlagTruncated, "end": 0,
	}, got)
}
