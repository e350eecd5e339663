package tail

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// newPlainRig reads plain files only.
func newPlainRig(t *testing.T, mode ackMode) *rig {
	r := newRig(t, mode)
	r.opts.PodLogs = []string{}
	r.opts.Globs = []string{filepath.Join(r.dir, "*.log")}
	return r
}

func plainApp(r *rig, name string) *app {
	a := newApp(r.t, name, filepath.Join(r.dir, name+".log"))
	a.line = func(_ int, text string) string { return text + "\n" }
	return a
}

// banner writes a line that every generation begins with.
func (a *app) banner() {
	const text = "=== started ==="
	_, err := a.f.WriteString(text + "\n")
	require.NoError(a.t, err)
	a.want = append(a.want, text)
}

// Generations that begin the same, and are short when they are first seen,
// are told apart, also by who comes back.
func TestPlainFilesWithEqualBanners(t *testing.T) {
	r := newPlainRig(t, ackNow)
	r.start()
	a := plainApp(r, "app")
	for i := range 5 {
		a.banner()
		r.waitRecords(len(a.want))
		a.write(3)
		if i == 2 {
			r.requireLines(a)
			r.settled()
			r.stop()
		}
		for n := i; n > 0; n-- {
			require.NoError(t, os.Rename(fmt.Sprintf("%s.%d", a.path, n), fmt.Sprintf("%s.%d", a.path, n+1)))
		}
		a.rotate(a.path + ".1")
		if i == 2 {
			r.start()
		}
	}
	a.banner()
	a.write(1)
	r.requireLines(a)
	require.Zero(t, r.counter("binnacle_tail_lost_bytes_total"))
}

// A file with a banner that was emptied in place has the same inode and the
// same first line.
func TestPlainCopyTruncateWithBanner(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%t", crash), func(t *testing.T) {
			r := newPlainRig(t, ackNow)
			r.start()
			a := plainApp(r, "app")
			for i := range 4 {
				a.banner()
				a.write(20 - 3*i)
				r.requireLines(a)
				if crash {
					r.settled()
					r.crash()
				}
				b, err := os.ReadFile(a.path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(fmt.Sprintf("%s.2026112%d", a.path, i), b, 0o644))
				require.NoError(t, os.Truncate(a.path, 0))
				if crash {
					r.start()
				} else {
					r.wait("truncation seen", func() bool { return r.counter("binnacle_tail_truncations_total") == float64(i+1) })
				}
			}
			a.write(1)
			r.requireLines(a)
		})
	}
}

func TestPlainHistory(t *testing.T) {
	r := newPlainRig(t, ackNow)
	r.opts.History = 200
	a := plainApp(r, "app")
	a.write(100)
	require.NoError(t, os.WriteFile(a.path+".1", []byte("rotated before the first start\n"), 0o644))
	r.start()
	r.wait("some records", func() bool { return len(r.sink.all()) > 0 })
	before := len(r.sink.all())
	require.Less(t, before, 10)
	require.Equal(t, a.want[100-before:], r.sink.texts(), "whole lines up to the end")
	r.settled()
	r.stop()
	b := plainApp(r, "new")
	b.write(100)
	r.start()
	a.write(2)
	r.wait("files that came later are read from the start", func() bool { return len(r.sink.all()) == before+102 })
	require.Zero(t, r.sink.dropped)
}

func TestFormatsByFile(t *testing.T) {
	r := newPlainRig(t, ackNow)
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644))
	}
	write("a.log", "plain 2016-10-06T00:17:09Z stdout F text\n\nlast\r\n")
	write("b.log", "2016-10-06T00:17:09.669794202Z stderr F cri\nnot cri\n")
	write("c.log", `{"log":"json\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`+"\n"+`{"log":"\u0000\n","stream":"stdout","time":"2016-10-06T00:17:10Z"}`+"\n")
	r.start()
	r.waitRecords(7)
	got := make(map[string]storage.Record)
	for _, rec := range r.sink.all() {
		got[string(rec.Line)] = rec
	}
	for text, want := range map[string]struct {
		file, stream string
		flags        storage.RecordFlags
	}{
		"plain 2016-10-06T00:17:09Z stdout F text": {"a.log", "", 0}, "": {"a.log", "", 0}, "last\r": {"a.log", "", 0},
		"cri": {"b.log", "stderr", 0}, "not cri": {"b.log", "", storage.FlagMalformed},
		"json": {"c.log", "stdout", 0}, "\uFFFD": {"c.log", "stdout", storage.FlagReplaced},
	} {
		rec, ok := got[text]
		require.True(t, ok, text)
		require.Equal(t, want.stream, rec.Stream.Labels.Get(storage.LabelStream), text)
		require.Equal(t, filepath.Join(r.dir, want.file), rec.Stream.Labels.Get(storage.LabelFilename), text)
		require.Equal(t, want.flags, rec.Flags, text)
	}
	require.Equal(t, 1.0, r.counter("binnacle_tail_malformed_lines_total"))
	require.Equal(t, 1.0, r.counter("binnacle_tail_replaced_lines_total"))
}

func TestLongLines(t *testing.T) {
	for _, limit := range []int{1 << 20, 100 << 10, 300 << 10} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			r := newPlainRig(t, ackNow)
			r.opts.MaxLineBytes = limit
			long := strings.Repeat("é", limit/2)
			exact := long[:limit/2*2]
			content := "before\n" + exact + "\n" + "x" + long + long + long + "\nafter\n" + long + "tail\nend\n"
			require.NoError(t, os.WriteFile(filepath.Join(r.dir, "a.log"), []byte(content), 0o644))
			r.start()
			r.waitRecords(6)
			texts := r.sink.texts()
			require.Len(t, texts, 6)
			require.Equal(t, []string{"before", "after", "end"}, []string{texts[0], texts[3], texts[5]})
			require.Equal(t, exact, texts[1])
			require.Equal(t, "x"+long[:(limit-1)/2*2], texts[2], "no character is split")
			require.Equal(t, long, texts[4])
			for i, rec := range r.sink.all() {
				require.Equal(t, i == 2 || i == 4, rec.Flags == storage.FlagTruncated, i)
				if i != 4 { // it is in the one before, too
					require.EqualValues(t, strings.Index(content, texts[i]), rec.Offset)
				}
			}
			r.settled()
			r.stop()
			r.start()
			r.settled()
			require.Zero(t, r.sink.dropped, "nothing is read again")
		})
	}
}

func TestLongLineOfParts(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.MaxLineBytes = 40 << 10
	var b bytes.Buffer
	part := strings.Repeat("y", 16<<10)
	for range 4 {
		b.WriteString(criText(0, "stdout", "P", part))
	}
	b.WriteString(criText(0, "stdout", "F", "end"))
	b.WriteString(criText(0, "stdout", "F", "next"))
	require.NoError(t, os.WriteFile(filepath.Join(r.container("cart", "app"), "0.log"), b.Bytes(), 0o644))
	r.start()
	r.waitRecords(2)
	require.Equal(t, []string{strings.Repeat("y", 40<<10), "next"}, r.sink.texts())
	require.Equal(t, storage.FlagTruncated, r.sink.all()[0].Flags)
	require.Equal(t, float64(4*16<<10+3-40<<10), r.counter("binnacle_tail_truncated_bytes_total"))
}

// Bytes that are no text are replaced; a character that a part's end splits is not.
func TestInvalidText(t *testing.T) {
	r := newRig(t, ackNow)
	content := criText(0, "stdout", "F", "a\xffb\x00c") + criText(1, "stdout", "P", "x\xc3") + criText(2, "stdout", "F", "\xa9y")
	require.NoError(t, os.WriteFile(filepath.Join(r.container("cart", "app"), "0.log"), []byte(content), 0o644))
	r.start()
	r.waitRecords(2)
	require.Equal(t, []string{"a\uFFFDb\uFFFDc", "xéy"}, r.sink.texts())
	require.Equal(t, storage.FlagReplaced, r.sink.all()[0].Flags)
	require.Zero(t, r.sink.all()[1].Flags)
}
