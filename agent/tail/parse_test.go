package tail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestParseCRI(t *testing.T) {
	at := time.Date(2016, 10, 6, 0, 17, 9, 669794202, time.UTC).UnixNano()
	for _, tt := range []struct {
		line   string
		want   entry
		reason string
	}{
		{"2016-10-06T00:17:09.669794202Z stdout F text", entry{at, stdout, false, []byte("text")}, ""},
		{"2016-10-06T00:17:09.669794202Z stderr P  two spaces ", entry{at, stderr, true, []byte(" two spaces ")}, ""},
		{"2016-10-06T02:17:09.669794202+02:00 stdout F cri-o", entry{at, stdout, false, []byte("cri-o")}, ""},
		{"2016-10-05T18:47:09.669794202-05:30 stdout F x", entry{at, stdout, false, []byte("x")}, ""},
		{"2016-10-06T00:17:09.6697942Z stdout F short fraction", entry{at - 2, stdout, false, []byte("short fraction")}, ""},
		{"2016-10-06T00:17:09Z stdout F x", entry{at - 669794202, stdout, false, []byte("x")}, ""},
		{"2016-10-06T00:17:09.669794202Z stdout F ", entry{at, stdout, false, []byte{}}, ""},
		{"2016-10-06T00:17:09.669794202Z stdout F", entry{at, stdout, false, []byte{}}, ""},
		{"2016-10-06T00:17:09.669794202Z stdout P:tag F", entry{at, stdout, true, []byte("F")}, ""},
		{"2016-10-06T00:17:09.669794202Z stdout FF x", entry{}, malformedTag},
		{"2016-10-06T00:17:09.669794202Z stdout X x", entry{}, malformedTag},
		{"2016-10-06T00:17:09.669794202Z stdxxx F x", entry{}, malformedOutput},
		{"2016-10-06T00:17:09.669794202Z", entry{}, malformedTime},
		{"2016-10-06T00:17:09.Z stdout F x", entry{}, malformedTime},
		{"2016-10-06T00:17:09.1234567890Z stdout F x", entry{}, malformedTime},
		{"2016-13-06T00:17:09Z stdout F x", entry{}, malformedTime},
		{"2016-10-06T00:17:0xZ stdout F x", entry{}, malformedTime},
		{"2016-10-06T00:17:09+0200 stdout F x", entry{}, malformedTime},
		{"", entry{}, malformedTime},
		{"plain text", entry{}, malformedTime},
	} {
		got, reason := parseCRI(&clock{}, []byte(tt.line))
		require.Equal(t, tt.reason, reason, tt.line)
		if reason == "" {
			require.Equal(t, tt.want, got, tt.line)
		}
	}
}

func TestParseJSONFile(t *testing.T) {
	at := time.Date(2016, 10, 6, 0, 17, 9, 669794202, time.UTC).UnixNano()
	for _, tt := range []struct {
		line   string
		want   entry
		reason string
	}{
		{`{"log":"text\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`, entry{at, stdout, false, []byte("text")}, ""},
		{`{"log":"part","stream":"stderr","time":"2016-10-06T00:17:09.669794202Z"}`, entry{at, stderr, true, []byte("part")}, ""},
		{
			`{"log":"a\tb \"c\" \\ \u003c\ud83d\ude00\ud83d \/\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`,
			entry{at, stdout, false, []byte("a\tb \"c\" \\ <😀\uFFFD /")},
			"",
		},
		{`{"log":"x\n","stream":"stdout","attrs":{"a":"b"},"time":"2016-10-06T00:17:09.669794202Z"}`, entry{at, stdout, false, []byte("x")}, ""},
		{`{"time":"2016-10-06T00:17:09.669794202Z","stream":"stdout","log":"x\n"}`, entry{at, stdout, false, []byte("x")}, ""},
		{`{"log":"\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`, entry{at, stdout, false, []byte{}}, ""},
		{`{"log":"x\n","stream":"stdin","time":"2016-10-06T00:17:09.669794202Z"}`, entry{}, malformedOutput},
		{`{"log":"x\n","stream":"stdout","time":"yesterday"}`, entry{}, malformedTime},
		{`{"log":"x\n","stream":"stdout","ti`, entry{}, malformedJSON},
		{`{"log":1,"stream":"stdout","time":"2016-10-06T00:17:09Z"}`, entry{}, malformedJSON},
		{`{"msg":"structured"}`, entry{}, malformedJSON},
		{`{`, entry{}, malformedJSON},
	} {
		got, reason := parseJSONFile(&clock{}, []byte(tt.line))
		require.Equal(t, tt.reason, reason, tt.line)
		if reason == "" {
			require.Equal(t, tt.want, got, tt.line)
		}
	}
}

func FuzzParseCRI(f *testing.F) {
	f.Add([]byte("2016-10-06T00:17:09.669794202Z stdout F text"))
	f.Add([]byte("2016-10-06T02:17:09.6+02:00 stderr P:x text"))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, reason := parseCRI(&clock{}, line)
		if reason != "" {
			return
		}
		if !bytes.HasSuffix(line, e.text) || e.out >= unnamed {
			t.Fatalf("%q: %+v", line, e)
		}
		stamp, _, _ := strings.Cut(string(line), " ")
		if want, err := time.Parse(time.RFC3339Nano, stamp); err == nil && want.UnixNano() != e.time {
			t.Fatalf("%q: %d, want %d", stamp, e.time, want.UnixNano())
		}
	})
}

// A line that encoding/json understands means the same to us.
func FuzzParseJSONFile(f *testing.F) {
	f.Add([]byte(`{"log":"a\u003c\ud83d\ude00\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`))
	f.Add([]byte(`{"log":"part","attrs":{"x":"}"},"stream":"stderr","time":"2016-10-06T00:17:09Z"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, reason := parseJSONFile(&clock{}, bytes.Clone(line))
		if reason != "" {
			return
		}
		if e.out >= unnamed {
			t.Fatalf("%q: %+v", line, e)
		}
		text, out, when, ok := cutJSONFile(bytes.Clone(line))
		if !ok || !utf8.Valid(line) {
			return
		}
		quoted := fmt.Sprintf(`{"log":"%s","stream":"%s","time":"%s"}`, text, out, when)
		var want struct{ Log, Stream, Time string }
		if json.Unmarshal([]byte(quoted), &want) == nil && strings.TrimSuffix(want.Log, "\n") != string(e.text) {
			t.Fatalf("%q: %q, want %q", line, e.text, want.Log)
		}
	})
}

func withChecksum(body []byte) []byte {
	return append(bytes.Clone(body), checksumLine(body)...)
}

func FuzzPositions(f *testing.F) {
	var b bytes.Buffer
	if err := encodePositions(&b, []*position{{Lane: "/l", Path: "/l/0.log", Resume: resume{}, Cuts: [outputs][]cut{{{1, true}}}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		// Without a checksum nothing gets past it: add the right one.
		for _, in := range [][]byte{file, withChecksum(file)} {
			entries, err := decodePositions(in)
			if err != nil {
				continue
			}
			var again bytes.Buffer
			if err := encodePositions(&again, entries); err != nil {
				t.Fatal(err)
			}
			second, err := decodePositions(again.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			require.Equal(t, entries, second)
		}
	})
}

func TestPositionsRefuseDamage(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, encodePositions(&b, []*position{{Lane: "/l", Path: "/l/0.log"}, {Lane: "/m"}}))
	for i := range b.Len() {
		damaged := bytes.Clone(b.Bytes())
		damaged[i] ^= 1
		_, err := decodePositions(damaged)
		require.ErrorIs(t, err, errPositions, "byte %d", i)
		_, err = decodePositions(b.Bytes()[:i])
		require.ErrorIs(t, err, errPositions, "cut at %d", i)
	}
	for body, want := range map[string]string{
		"binnacle positions 2\n":        "first line",
		positionsHeader + "\n{}\n":      "no lane",
		positionsHeader + "\nnothing\n": "entry 0",
		positionsHeader + "{}\n":        "first line",
	} {
		_, err := decodePositions(withChecksum([]byte(body)))
		require.ErrorIs(t, err, errPositions)
		require.ErrorContains(t, err, want)
	}
}

func TestRotationNames(t *testing.T) {
	pod := place{dir: "/p"}
	order := []string{ // oldest first
		"0.log.20261127-110000.gz", "0.log.20261127-120000", "0.log", "1.log.20261127-120001", "1.log", "10.log",
	}
	previous := ""
	for _, name := range order {
		n, ok := pod.parse(name)
		require.True(t, ok, name)
		require.Greater(t, n.order, previous, name)
		previous = n.order
	}
	previous = ""
	plain := place{dir: "/l", base: "app.log"}
	for _, name := range []string{"app.log.10.gz", "app.log.2.gz", "app.log.1", "app.log"} {
		n, ok := plain.parse(name)
		require.True(t, ok, name)
		require.Greater(t, n.order, previous, name)
		require.Equal(t, strings.HasSuffix(name, ".gz"), n.gzip)
		require.Equal(t, name != "app.log", n.rotated)
		previous = n.order
	}
	for _, name := range []string{"app.log.gz.tmp", "app.log.20261127.tmp", "app.log2", "app.log.", "app.log-", "other.log", "app.log.old"} {
		_, ok := plain.parse(name)
		require.False(t, ok, name)
	}
	for name, want := range map[string]string{
		"app.log": "app.log", "app.log.1": "app.log", "app.log.2.gz": "app.log", "app.log-20261127": "app.log",
		"app.log-20261127.gz": "app.log", "syslog.1": "syslog", "app.log.20261127-120000.gz": "app.log",
	} {
		require.Equal(t, place{dir: "/l", base: want}, plainLane("/l/"+name), name)
	}
}
