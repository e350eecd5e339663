package ledger

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

// written are the records of a container as a correct pipeline returns them.
func written(entries int) (accounts []Account, records []Record) {
	source := Source{Namespace: "shop", Pod: "cart-1", Container: "app"}
	names := map[string]string{"namespace": "shop", "pod": "cart-1"}
	at := int64(1_700_000_000_000_000_000)
	for n := range entries {
		for _, stream := range []string{Stdout, Stderr} {
			e := Entry{Source: source, Stream: stream, Number: n, Time: at}
			at++
			r := Record{Time: e.Time, Line: e.Stored(), Labels: maps.Clone(names)}
			r.Labels["stream"] = stream
			records = append(records, r)
		}
	}
	for _, stream := range []string{Stdout, Stderr} {
		accounts = append(accounts, Account{Source: source, Stream: stream, Labels: names, Timed: true, Entries: entries})
	}
	return accounts, records
}

// TestChecker breaks one thing at a time in 600 records and requires that this
// and nothing else is found.
func TestChecker(t *testing.T) {
	const broken = 240 // index of a short entry of stdout
	for _, c := range []struct {
		name string
		harm func(rs []Record) []Record
		want Report
	}{
		{"nothing", func(rs []Record) []Record { return rs }, Report{}},
		{"lost", func(rs []Record) []Record { return slices.Delete(rs, broken, broken+1) }, Report{Lost: 1}},
		{"several lost", func(rs []Record) []Record { return slices.Delete(rs, broken, broken+7) }, Report{Lost: 7}},
		{"the first lost", func(rs []Record) []Record { return rs[1:] }, Report{Lost: 1}},
		{"the last lost", func(rs []Record) []Record { return rs[:len(rs)-1] }, Report{Lost: 1}},
		{"all lost", func([]Record) []Record { return nil }, Report{Lost: 600}},
		{"doubled", func(rs []Record) []Record { return slices.Insert(rs, broken, rs[broken]) }, Report{Doubled: 1}},
		{"doubled at the end", func(rs []Record) []Record {
			again := rs[broken]
			again.Time = rs[len(rs)-1].Time // as if it was read again, with a later time
			return append(rs, again)
		}, Report{Doubled: 1, Corrupt: 1}},
		{"a bit flipped in the text", func(rs []Record) []Record {
			rs[broken].Line[len(rs[broken].Line)-1] ^= 1
			return rs
		}, Report{Corrupt: 1}},
		{"a bit flipped in the number", func(rs []Record) []Record {
			i := bytes.Index(rs[broken].Line, []byte("stdout/")) + len("stdout/")
			rs[broken].Line[i] ^= 1
			return rs
		}, Report{Lost: 1, Foreign: 1}},
		{"cut short", func(rs []Record) []Record {
			rs[broken].Line = rs[broken].Line[:len(rs[broken].Line)-1]
			return rs
		}, Report{Corrupt: 1}},
		{"lengthened", func(rs []Record) []Record {
			rs[broken].Line = append(rs[broken].Line, ' ')
			return rs
		}, Report{Corrupt: 1}},
		{"swapped within a stream", func(rs []Record) []Record {
			rs[broken], rs[broken+2] = rs[broken+2], rs[broken]
			rs[broken].Time, rs[broken+2].Time = rs[broken+2].Time, rs[broken].Time
			return rs
		}, Report{Disorder: 1, Corrupt: 2}},
		{"swapped between streams", func(rs []Record) []Record {
			rs[broken], rs[broken+1] = rs[broken+1], rs[broken]
			return rs
		}, Report{Disorder: 1}},
		{"time of its own", func(rs []Record) []Record {
			rs[len(rs)-1].Time++
			return rs
		}, Report{Corrupt: 1}},
		{"wrong label", func(rs []Record) []Record {
			rs[broken].Labels["pod"] = "cart-2"
			return rs
		}, Report{Mislabelled: 1}},
		{"wrong stream", func(rs []Record) []Record {
			rs[broken].Labels["stream"] = Stderr
			return rs
		}, Report{Mislabelled: 1}},
		{"missing label", func(rs []Record) []Record {
			delete(rs[broken].Labels, "namespace")
			return rs
		}, Report{Mislabelled: 1}},
		{"foreign line", func(rs []Record) []Record {
			return slices.Insert(rs, broken, Record{Time: rs[broken].Time, Line: []byte("hello")})
		}, Report{Foreign: 1}},
		{"more than was written", func(rs []Record) []Record {
			e := Entry{Source: Source{Namespace: "shop", Pod: "cart-1", Container: "app"}, Stream: Stdout, Number: 300, Time: rs[599].Time}
			return append(rs, Record{Time: e.Time, Line: e.Stored()})
		}, Report{Foreign: 1}},
		{"a trace not joined", func(rs []Record) []Record {
			const first = 2 * 20 // entry 20 of stdout is a trace
			head, rest, found := bytes.Cut(rs[first].Line, []byte("\n"))
			if !found {
				t.Fatalf("entry 20 is no trace: %s", rs[first].Line)
			}
			second := rs[first]
			rs[first].Line, second.Line = head, rest
			return slices.Insert(rs, first+1, second)
		}, Report{Corrupt: 1, Foreign: 1}},
		{"parts of a long line not joined", func(rs []Record) []Record {
			const first = 2 * 50 // entry 50 of stdout is long
			second := rs[first]
			rs[first].Line, second.Line = second.Line[:splitBytes], second.Line[splitBytes:]
			return slices.Insert(rs, first+1, second)
		}, Report{Corrupt: 1, Foreign: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			accounts, records := written(300)
			records = c.harm(records)
			checker := NewChecker(accounts)
			for _, r := range records {
				checker.Add(r)
			}
			got := checker.Report()
			c.want.Expected, c.want.Records, c.want.Examples = 600, len(records), got.Examples
			if got.Lost != c.want.Lost || got.Doubled != c.want.Doubled || got.Corrupt != c.want.Corrupt || got.Disorder != c.want.Disorder ||
				got.Mislabelled != c.want.Mislabelled || got.Foreign != c.want.Foreign || got.Records != c.want.Records || got.Expected != 600 {
				t.Errorf("got %+v\nwant %+v", got, c.want)
			}
			if harmless := c.name == "nothing"; harmless != (got.Err() == nil) || harmless != (len(got.Examples) == 0) {
				t.Errorf("Err is %v", got.Err())
			}
		})
	}
}

// TestUnordered leaves the order of times to the pipeline, not that of a
// stream's entries.
func TestUnordered(t *testing.T) {
	accounts, records := written(10)
	slices.SortStableFunc(records, func(a, b Record) int { return strings.Compare(b.Labels["stream"], a.Labels["stream"]) })
	c := NewChecker(accounts)
	c.Ordered = false
	for _, r := range records {
		c.Add(r)
	}
	if err := c.Report().Err(); err != nil {
		t.Error(err)
	}
}

// TestSuffix begins in the middle, where only gaps after that are losses.
func TestSuffix(t *testing.T) {
	accounts, records := written(100)
	c := NewChecker(accounts)
	c.Suffix = true
	for i, r := range records[101:] {
		if i == 30 {
			continue
		}
		if c.Ended() {
			t.Errorf("ended before record %d", i)
		}
		c.Add(r)
	}
	if got := c.Report(); got.Lost != 1 || !c.Ended() {
		t.Errorf("%d lost, want the one in the middle; ended %v", got.Lost, c.Ended())
	}
}
