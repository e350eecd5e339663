package tail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// bareGeneration makes records without files and goroutines.
func bareGeneration(t *testing.T, r resume, cuts [outputs][]cut) *generation {
	t.Helper()
	tailer, err := New(Options{
		PodLogs: []string{}, PositionsFile: filepath.Join(t.TempDir(), "p"), Push: newLedger(ackNow).push,
		RateLimit: 4000, Burst: 1500, MaxTraceLines: 8,
	})
	require.NoError(t, err)
	g := &generation{
		lane: &lane{t: tailer, limit: newBucket(tailer.opts.RateLimit, tailer.opts.Burst)}, format: formatCRI, offset: r.acked(),
	}
	g.lane.shedLine, g.lane.shedText = tailer.metrics.deliveries, tailer.metrics.deliveries
	for o := range g.joiners {
		g.joiners[o] = joiner{skip: r.Outputs[o].Next, cuts: slices.Clone(cuts[o]), shed: r.Outputs[o].Shed}
		g.sources[o] = storage.SourceID{byte(o)}
	}
	if r.Bucket.Time != 0 {
		g.lane.limit.state = r.Bucket
	}
	return g
}

// run consumes lines up to the offset end, and describes the records.
func (g *generation) run(file string, end int64) []string {
	var out []string
	for g.offset < end {
		b := &batch{buf: []byte(file[g.offset:end]), clean: true, now: 1}
		g.consume(b, b.buf)
		for _, r := range b.records {
			if r.Flags&storage.FlagMalformed != 0 {
				r.Time = 0 // that of the good line before, if there was one since reading began
			}
			out = append(out, fmt.Sprintf("%x@%d %d %d %d %s", r.Source[:1], r.Offset, r.Time, r.Flags, r.Level, r.Line))
		}
	}
	return out
}

// mixedFile has stack traces and lines in parts on both outputs, interleaved,
// malformed lines, and bursts that exceed the rate limit.
func mixedFile(rnd *rand.Rand) (file string, lines []int64) {
	var queues [2][]string // lines of each output, in CRI's format without time
	for o, name := range []string{"stdout", "stderr"} {
		for range 60 {
			switch rnd.IntN(5) {
			case 0:
				for line := range strings.SplitSeq(traces[[]string{"java", "python", "go panic", "node"}[rnd.IntN(4)]], "\n") {
					queues[o] = append(queues[o], name+" F "+line)
				}
			case 1:
				for range rnd.IntN(4) {
					queues[o] = append(queues[o], name+" P part|")
				}
				queues[o] = append(queues[o], name+" F end")
			default:
				queues[o] = append(queues[o], fmt.Sprintf("%s F line %d %s", name, rnd.IntN(1000), strings.Repeat("x", rnd.IntN(60))))
			}
		}
	}
	var b strings.Builder
	at := clockTick
	for len(queues[0])+len(queues[1]) > 0 {
		lines = append(lines, int64(b.Len()))
		if rnd.IntN(50) == 0 {
			b.WriteString("malformed\n")
			continue
		}
		o := rnd.IntN(2)
		if len(queues[o]) == 0 {
			o = 1 - o
		}
		at = at.Add(time.Duration(rnd.IntN(4)) * time.Millisecond)
		b.WriteString(at.Format(time.RFC3339Nano) + " " + queues[o][0] + "\n")
		queues[o] = queues[o][1:]
	}
	return b.String(), append(lines, int64(b.Len()))
}

// Wherever reading stops and resumes, before and after make the records that
// reading in one go does: none missing, none twice, none different.
func TestResumeAnywhere(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		file, lines := mixedFile(rnd)
		var cuts [outputs][]cut
		for o := range stderr + 1 {
			for range rnd.IntN(4) {
				cuts[o] = append(cuts[o], cut{Offset: lines[rnd.IntN(len(lines))], All: rnd.IntN(2) == 0})
			}
			slices.SortFunc(cuts[o], func(a, b cut) int { return int(a.Offset - b.Offset) })
		}
		want := bareGeneration(t, resume{}, cuts).run(file, int64(len(file)))
		require.Greater(t, len(want), 30)
		require.Contains(t, strings.Join(want, "\n"), "shed here")
		for range 15 {
			g := bareGeneration(t, resume{}, cuts)
			got := g.run(file, lines[rnd.IntN(len(lines))])
			for range 1 + rnd.IntN(3) { // several crashes
				g = bareGeneration(t, g.resumePoint(), cutsFrom(cuts, g.resumePoint()))
				got = append(got, g.run(file, max(g.offset, lines[rnd.IntN(len(lines))]))...)
			}
			got = append(got, g.run(file, int64(len(file)))...)
			require.Equal(t, bySource(want), bySource(got), "seed %d", seed)
		}
	}
}

// cutsFrom leaves out the cuts that settle drops.
func cutsFrom(cuts [outputs][]cut, r resume) (left [outputs][]cut) {
	for o := range cuts {
		for _, c := range cuts[o] {
			if c.Offset > r.Outputs[o].Next {
				left[o] = append(left[o], c)
			}
		}
	}
	return left
}

func bySource(records []string) map[string][]string {
	m := make(map[string][]string)
	for _, r := range records {
		m[r[:2]] = append(m[r[:2]], r)
	}
	return m
}

// A file that was emptied and is longer than before when somebody looks again
// is a new generation, though its size gives no hint.
func TestOverwrittenWhileNobodyLooked(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.Workers = 1
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	blocker := newApp(t, "blocker", filepath.Join(r.container("web", "app"), "0.log"))
	blocker.write(1)
	a.write(20)
	r.start()
	r.requireLines(a, blocker)
	r.sink.pause(true)
	blocker.write(1)
	r.wait("the worker waits", func() bool { return r.counter("binnacle_tail_deliveries_total") >= 3 && r.sink.blocked.Load() })
	require.NoError(t, os.Truncate(a.path, 0))
	a.write(100)
	r.sink.pause(false)
	r.requireLines(a, blocker)
	require.Equal(t, 1.0, r.counter("binnacle_tail_truncations_total"))
}
