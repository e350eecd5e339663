package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

const dockerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func jsonText(n int, text string) string {
	at := clockTick.Add(time.Duration(n) * time.Millisecond).Format(time.RFC3339Nano)
	return fmt.Sprintf(`{"log":%q,"stream":"stdout","time":"%s"}`+"\n", text, at)
}

func TestDockerFolders(t *testing.T) {
	r := newRig(t, ackNow)
	dir := filepath.Join(r.dir, dockerID)
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(`{"Name":"/cart"}`), 0o644))
	log := filepath.Join(dir, dockerID+"-json.log")
	require.NoError(t, os.WriteFile(log+".2", []byte(jsonText(0, "oldest\n")), 0o644))
	require.NoError(t, os.WriteFile(log+".1", []byte(jsonText(1, "older\n")), 0o644))
	require.NoError(t, os.WriteFile(log, []byte(jsonText(2, "a long ")+jsonText(3, "line\n")), 0o644))
	r.start()
	r.waitRecords(3)
	require.Equal(t, []string{"oldest", "older", "a long line"}, r.sink.texts())
	require.Equal(t, "cart", r.sink.all()[0].Stream.Labels.Get(storage.LabelContainer))
}

func TestParseDockerConfig(t *testing.T) {
	id := identity{containerID: dockerID}
	for config, want := range map[string]identity{
		`{"Name":"/cart"}`: {container: "cart"},
		`{"Name":"/k8s_x","Config":{"Labels":{"io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.name":"cart-0","io.kubernetes.pod.uid":"u","io.kubernetes.container.name":"app"}}}`: {
			namespace: "shop", pod: "cart-0", uid: "u", container: "app",
		},
		`{`: {container: dockerID[:12]},
		``:  {container: dockerID[:12]},
	} {
		want.containerID = dockerID
		require.Equal(t, want, parseDockerConfig([]byte(config), id), config)
	}
}

// With Docker below the kubelet, the kubelet's file is a link, and so is the
// one in /var/log/containers. The three name one container.
func TestLinksLeadToTheSameLane(t *testing.T) {
	r := newRig(t, ackNow)
	base := t.TempDir()
	docker := filepath.Join(base, "docker", dockerID)
	pods := filepath.Join(base, "pods", "shop_cart-0_u", "app")
	require.NoError(t, os.MkdirAll(docker, 0o755))
	require.NoError(t, os.MkdirAll(pods, 0o755))
	log := filepath.Join(docker, dockerID+"-json.log")
	require.NoError(t, os.WriteFile(log+".1", []byte(jsonText(0, "older\n")), 0o644))
	require.NoError(t, os.WriteFile(log, []byte(jsonText(1, "newer\n")), 0o644))
	require.NoError(t, os.Symlink(log, filepath.Join(pods, "0.log")))
	require.NoError(t, os.Symlink(filepath.Join(pods, "0.log"), filepath.Join(r.dir, "cart-0_shop_app-"+dockerID+".log")))
	r.opts.PodLogs = []string{r.dir, filepath.Join(base, "pods")}
	r.start()
	r.waitRecords(2)
	require.Equal(t, []string{"older", "newer"}, r.sink.texts())
	l := r.sink.all()[1].Stream.Labels
	require.Equal(t, "shop/cart-0/app", l.Get("namespace")+"/"+l.Get("pod")+"/"+l.Get("container"))
	require.Len(t, r.tailer.allLanes(), 1)
}

// lateLabeler knows a pod only after a while.
type lateLabeler struct{ known atomic.Bool }

func (l *lateLabeler) Labels(namespace, pod, uid, container string) (labels.Labels, bool) {
	if !l.known.Load() {
		return labels.EmptyLabels(), false
	}
	return labels.FromStrings("workload", pod+"-set", "pod", "must not win"), true
}

func TestLabelsThatComeLate(t *testing.T) {
	r := newRig(t, ackNow)
	labeler := &lateLabeler{}
	r.opts.Labeler = labeler
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(4)
	r.start()
	r.requireLines(a)
	labeler.known.Store(true)
	r.wait("new labels", func() bool {
		a.write(2)
		all := r.sink.all()
		return all[len(all)-1].Stream.Labels.Get("workload") == "cart-set"
	})
	r.requireLines(a)
	streams := make(map[*storage.Stream]bool)
	for _, rec := range r.sink.all() {
		streams[rec.Stream] = true
		require.Equal(t, "cart", rec.Stream.Labels.Get("pod"))
	}
	require.Len(t, streams, 4, "two outputs, before and after")
}

// What is shed follows from the log's own time: reading it again after a
// crash gives the same records, and the line that reports it is exact.
func TestRateLimit(t *testing.T) {
	r := newRig(t, ackLate)
	r.opts.RateLimit, r.opts.Burst = 1000, 4000
	quiet := newApp(t, "quiet", filepath.Join(r.container("web", "app"), "0.log"))
	quiet.write(10)
	loud := newApp(t, "loud", filepath.Join(r.container("cart", "app"), "0.log"))
	loud.line = func(n int, text string) string { // about 60 bytes a millisecond
		return clockTick.Add(time.Duration(n)*time.Millisecond).Format(time.RFC3339Nano) + " stdout F " + text + "\n"
	}
	r.start()
	for i := range 10 {
		loud.write(500)
		if i%3 == 0 {
			r.wait("it is read and in the positions", func() bool {
				r.sink.ackSome(true)
				info, err := os.Stat(loud.path)
				require.NoError(t, err)
				return r.savedOffset(loud.path) == info.Size()
			})
		}
		r.crash()
		r.start()
	}
	accounted := func() (lines int, reports int) {
		for _, rec := range r.sink.all() {
			var n, size int
			switch {
			case rec.Stream.Labels.Get("pod") != "cart":
			case rec.Flags == storage.FlagShed:
				_, err := fmt.Sscanf(string(rec.Line), "binnacle: %d lines (%d bytes) shed here", &n, &size)
				require.NoError(t, err)
				require.Equal(t, storage.LevelWarn, rec.Level)
				lines += n
				reports++
			default:
				lines++
			}
		}
		return lines, reports
	}
	r.wait("every line is there or reported", func() bool { lines, _ := accounted(); return lines >= loud.n })
	lines, reports := accounted()
	require.Equal(t, loud.n, lines)
	require.Less(t, reports, 10)
	kept := 0
	for _, rec := range r.sink.all() {
		if rec.Flags == 0 && strings.HasPrefix(string(rec.Line), "loud") {
			kept += len(rec.Line)
		}
	}
	require.InDelta(t, 4000+5*1000, kept, 2200, "burst and five seconds of the log's time")
	found := 0
	for _, text := range r.sink.texts() {
		if strings.HasPrefix(text, "quiet") {
			found++
		}
	}
	require.Equal(t, quiet.n, found, "others are not touched")
}

func TestShedIsCountedByPod(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.RateLimit, r.opts.Burst = 10, 10
	a := newApp(t, "a", filepath.Join(r.container("cart", "app"), "0.log"))
	a.write(100)
	r.start()
	r.wait("something is shed", func() bool { return r.counter("binnacle_tail_shed_lines_total") > 90 })
	families, err := r.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "binnacle_tail_shed_lines_total" {
			require.Len(t, f.GetMetric(), 1)
			require.Contains(t, f.GetMetric()[0].String(), `value:"cart"`)
		}
	}
}

func TestShedSeriesAreBounded(t *testing.T) {
	tailer, err := New(Options{PodLogs: []string{}, PositionsFile: filepath.Join(t.TempDir(), "p"), Push: newLedger(ackNow).push, RateLimit: 1})
	require.NoError(t, err)
	var lanes []*lane
	for i := range maxShedSeries + 10 {
		l, _ := tailer.lane(fmt.Sprint(i), identity{pod: fmt.Sprint(i)}, place{})
		l.countShed(1)
		lanes = append(lanes, l)
	}
	require.Equal(t, maxShedSeries, tailer.metrics.shedSeries)
	for _, l := range lanes {
		tailer.metrics.forgetShed(l)
	}
	require.Zero(t, tailer.metrics.shedSeries)
}

// savedOffset is the acknowledged offset of a file in the positions file.
func (r *rig) savedOffset(path string) int64 {
	b, err := os.ReadFile(r.opts.PositionsFile)
	if err != nil {
		return -1
	}
	entries, err := decodePositions(b)
	require.NoError(r.t, err)
	for _, e := range entries {
		if e.Path == path {
			return e.Resume.acked()
		}
	}
	return -1
}

func TestWorkerTakesLanesInTurn(t *testing.T) {
	w := newWorker(&Tailer{})
	lanes := []*lane{{key: "a"}, {key: "b"}, {key: "c"}}
	for _, l := range lanes {
		w.wake(l)
		w.wake(l) // once is enough
	}
	now := time.Now()
	w.wakeAt(lanes[1], now.Add(time.Second))
	w.wakeAt(lanes[1], now.Add(time.Minute)) // the earlier counts
	for _, want := range []int{0, 1, 2, 0, 1, 2} {
		l, _ := w.next(now)
		require.Same(t, lanes[want], l)
		w.wake(l)
	}
	for range lanes {
		w.next(now)
	}
	l, wait := w.next(now)
	require.Nil(t, l)
	require.Equal(t, time.Second, wait)
	l, _ = w.next(now.Add(time.Second))
	require.Same(t, lanes[1], l)
	l, _ = w.next(now.Add(time.Hour))
	require.Nil(t, l)
}

// A flood does not keep another container's lines from being read.
func TestFairness(t *testing.T) {
	r := newRig(t, ackNow)
	r.opts.Workers = 1
	flood := newApp(t, "flood", filepath.Join(r.container("flood", "app"), "0.log"))
	flood.write(40000)
	var quiet []*app
	for i := range 5 {
		a := newApp(t, fmt.Sprintf("quiet-%d", i), filepath.Join(r.container(fmt.Sprintf("quiet-%d", i), "app"), "0.log"))
		a.write(1)
		quiet = append(quiet, a)
	}
	r.start()
	r.requireLines(append(quiet, flood)...)
	last := 0
	for i, text := range r.sink.texts() {
		if strings.HasPrefix(text, "quiet") {
			last = i
		}
	}
	require.Less(t, last, 10*maxRecords, "each had its turn before the flood ended")
}

func TestOptionsAreChecked(t *testing.T) {
	push := newLedger(ackNow).push
	for want, o := range map[string]Options{
		"Push is required":          {PositionsFile: "/x"},
		"PositionsFile is required": {Push: push},
		"is relative":               {Push: push, PositionsFile: "/x", Globs: []string{"*.log"}},
		"syntax error":              {Push: push, PositionsFile: "/x", Globs: []string{"/[.log"}},
		"must not be negative":      {Push: push, PositionsFile: "/x", RateLimit: -1},
	} {
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
}
