package ledger

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// readAll returns what the files hold, one after the other; those that end
// with .gz are decompressed.
func readAll(t testing.TB, paths ...string) []byte {
	t.Helper()
	var all []byte
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(path, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// decode returns the text of each stream, and the time of each line.
func decode(t testing.TB, f Format, file []byte) (text map[string]string, times []string) {
	t.Helper()
	text = map[string]string{}
	for line := range strings.Lines(string(file)) {
		switch f {
		case Plain:
			text[Stdout] += line
		case CRI:
			part := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
			if len(part) != 4 || len(part[3]) > splitBytes || part[2] != "F" && part[2] != "P" {
				t.Fatalf("no CRI line: %.100q", line)
			}
			text[part[1]] += part[3]
			if part[2] == "F" {
				text[part[1]] += "\n"
			}
			times = append(times, part[0])
		case JSONFile:
			var object struct {
				Log, Stream string
				Time        time.Time
			}
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Fatal(err)
			}
			text[object.Stream] += object.Log
			times = append(times, object.Time.Format(time.RFC3339Nano))
		}
	}
	return text, times
}

// expected is the text of an account, with the times that stand in it.
func expected(t testing.TB, a Account, f Format, text string) string {
	t.Helper()
	var b strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		if !strings.Contains(line, mark) {
			continue
		}
		e, err := parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if e.Number != n || e.Stream != a.Stream {
			t.Fatalf("%s is not entry %d of %s", e.head(), n, a.Stream)
		}
		n++
		part := e.Text()
		if f == JSONFile { // NUL survives it, other bytes do not
			part = bytes.ToValidUTF8(part, []byte("\ufffd"))
		}
		b.Write(part)
		b.WriteByte('\n')
	}
	if n != a.Entries {
		t.Errorf("%d entries of %s in the files, the account says %d", n, a.Stream, a.Entries)
	}
	return b.String()
}

func TestLogFormats(t *testing.T) {
	source := Source{Namespace: "shop", Pod: "cart-0", UID: "u", Container: "app", Restart: 3}
	for name, f := range map[string]Format{"CRI": CRI, "JSONFile": JSONFile, "Plain": Plain} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			l, err := PodLog(root, source, f)
			want := filepath.Join(root, "shop_cart-0_u/app/3.log")
			if f == Plain {
				want = filepath.Join(root, "app.log")
				l, err = PlainLog(want, source)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Write(200); err != nil {
				t.Fatal(err)
			}
			if err := l.Burst(400); err != nil {
				t.Fatal(err)
			}
			if l.Path() != want || l.Entries() < 600 {
				t.Errorf("path %s, %d entries", l.Path(), l.Entries())
			}
			text, times := decode(t, f, readAll(t, l.Path()))
			for _, a := range l.Accounts() {
				if text[a.Stream] != expected(t, a, f, text[a.Stream]) {
					t.Errorf("the text of %s is another", a.Stream)
				}
			}
			slices.Sort(times)
			if len(times) != len(slices.Compact(slices.Clone(times))) {
				t.Error("two lines have the same time")
			}
		})
	}
}

// TestRotate follows the generations through their names and contents.
func TestRotate(t *testing.T) {
	for _, within := range []bool{false, true} {
		t.Run(fmt.Sprint(within), func(t *testing.T) {
			l, err := PodLog(t.TempDir(), Source{Namespace: "a", Pod: "b", UID: "c", Container: "d"}, CRI)
			if err != nil {
				t.Fatal(err)
			}
			for range 6 {
				if err := l.Write(30); err != nil {
					t.Fatal(err)
				}
				if err := l.Rotate(100, within); err != nil {
					t.Fatal(err)
				}
			}
			paths, err := l.rotated()
			if err != nil {
				t.Fatal(err)
			}
			for i, path := range paths {
				if compressed := strings.HasSuffix(path, ".gz"); compressed != (i < len(paths)-1) {
					t.Errorf("%s of %d", path, len(paths))
				}
			}
			if len(paths) != 6 {
				t.Errorf("generations %v", paths)
			}
			if last := readAll(t, paths[0]); bytes.Contains(last[bytes.LastIndexByte(last[:len(last)-1], '\n')+1:], []byte(" P ")) != within {
				t.Error("the first generation does not end as asked")
			}
			text, _ := decode(t, CRI, readAll(t, append(paths, l.Path())...))
			for _, a := range l.Accounts() {
				if text[a.Stream] != expected(t, a, CRI, text[a.Stream]) {
					t.Errorf("the text of %s is another", a.Stream)
				}
			}
			if err := l.Rotate(3, within); err != nil {
				t.Fatal(err)
			}
			if paths, err = l.rotated(); err != nil || len(paths) != 2 {
				t.Errorf("%v are kept beside the present file, %v", paths, err)
			}
		})
	}
}

func TestCopyTruncate(t *testing.T) {
	l, err := PlainLog(filepath.Join(t.TempDir(), "app.log"), Source{Container: "app"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.Write(50); err != nil {
			t.Fatal(err)
		}
		if err := l.CopyTruncate(5); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Write(5); err != nil {
		t.Fatal(err)
	}
	text := string(readAll(t, l.Path()+".3", l.Path()+".2", l.Path()+".1", l.Path()))
	if text != expected(t, l.Accounts()[0], Plain, text) {
		t.Error("the copies and the file do not hold what was written")
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
}
