package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	upstream "github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func TestMain(m *testing.M) {
	if runAsChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// receiver is a remote write receiver of either version that keeps what it
// gets in order of arrival.
type receiver struct {
	*httptest.Server
	// answer, if set, decides before anything is stored; it returns false when
	// it has answered itself.
	answer func(w http.ResponseWriter, r *http.Request, n int) bool
	onlyV1 bool // and does not look at the content type

	mu       sync.Mutex
	requests int
	headers  []http.Header
	points   map[string][]storagetest.Point
	v1, v2   int
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{points: map[string][]storagetest.Point{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	r.requests++
	n := r.requests
	r.headers = append(r.headers, req.Header.Clone())
	answer := r.answer
	r.mu.Unlock()
	if answer != nil && !answer(w, req, n) {
		return
	}
	raw, err := s2.Decode(nil, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.onlyV1 || req.Header.Get("Content-Type") == contentTypeV1 {
		err = r.storeV1(raw)
	} else {
		var stats upstream.WriteResponseStats
		stats, err = r.storeV2(raw)
		stats.SetHeaders(w)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) storeV1(raw []byte) error {
	var q prompb.WriteRequest
	if err := q.Unmarshal(raw); err != nil {
		return err
	}
	r.v1++
	b := labels.NewScratchBuilder(0)
	for _, ts := range q.Timeseries {
		key := ts.ToLabels(&b, nil).String()
		for _, s := range ts.Samples {
			r.points[key] = append(r.points[key], storagetest.Point{T: s.Timestamp, V: s.Value})
		}
	}
	return nil
}

func (r *receiver) storeV2(raw []byte) (stats upstream.WriteResponseStats, err error) {
	var q writev2.Request
	if err := q.Unmarshal(raw); err != nil {
		return stats, err
	}
	r.v2++
	b := labels.NewScratchBuilder(0)
	for _, ts := range q.Timeseries {
		ls, err := ts.ToLabels(&b, q.Symbols)
		if err != nil {
			return stats, err
		}
		for _, s := range ts.Samples {
			r.points[ls.String()] = append(r.points[ls.String()], storagetest.Point{T: s.Timestamp, V: s.Value})
		}
		stats.Samples += len(ts.Samples)
		stats.Histograms += len(ts.Histograms)
		stats.Exemplars += len(ts.Exemplars)
	}
	return stats, nil
}

func (r *receiver) setAnswer(f func(w http.ResponseWriter, r *http.Request, n int) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) count() (requests, v1, v2 int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests, r.v1, r.v2
}

// values returns the stored values of the one series m{i="i"}, in order.
func (r *receiver) values(i int) []float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []float64
	for _, p := range r.points[testSeries(i).Labels.String()] {
		out = append(out, p.V)
	}
	return out
}

func (r *receiver) has(i int, want ...float64) func() bool {
	return func() bool { return fmt.Sprint(r.values(i)) == fmt.Sprint(want) }
}

// fixture is a Queue under test with what it logs and counts.
type fixture struct {
	*Queue
	reg *prometheus.Registry
	log *logBuffer
	// series are those that samples points to.
	series map[int]*storage.Series
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// openQueue opens a queue with quick retries. It is closed when the test ends.
func openQueue(t testing.TB, o Options) *fixture {
	t.Helper()
	f := &fixture{reg: prometheus.NewRegistry(), log: &logBuffer{}, series: map[int]*storage.Series{}}
	o.Registerer, o.Logger = f.reg, slog.New(slog.NewTextHandler(f.log, nil))
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	var err error
	f.Queue, err = Open(o)
	require.NoError(t, err)
	for _, s := range f.senders {
		s.backoff = time.Millisecond
	}
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// start runs the queue until the returned function is called.
func (f *fixture) start(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.Run(ctx) // always nil
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return stop
}

func testSeries(i int) *storage.Series {
	return &storage.Series{
		Labels: labels.FromStrings(model.MetricNameLabel, "m", "i", fmt.Sprint(i)),
		Family: &storage.Family{Name: "m", Help: "Test.", Type: "gauge"},
	}
}

// append appends one sample of series m{i="i"}.
func (f *fixture) append(t testing.TB, i int, ts int64, v float64) {
	t.Helper()
	require.NoError(t, f.Append(context.Background(), []storage.Sample{f.sample(i, ts, v)}))
}

func (f *fixture) sample(i int, ts int64, v float64) storage.Sample {
	if f.series[i] == nil {
		f.series[i] = testSeries(i)
	}
	return storage.Sample{Series: f.series[i], T: ts, V: v}
}

// value is the sum of a metric of one endpoint, over all other labels given as
// pairs.
func (f *fixture) value(t testing.TB, name string, pairs ...string) float64 {
	t.Helper()
	families, err := f.reg.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, mf := range families {
		if mf.GetName() != "binnacle_remote_"+name {
			continue
		}
	metrics:
		for _, m := range mf.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(pairs); i += 2 {
				if have[pairs[i]] != pairs[i+1] {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func eventually(t testing.TB, f func() bool, msg ...any) {
	t.Helper()
	require.Eventually(t, f, 60*time.Second, time.Millisecond, msg...)
}

func TestAppenderConformance(t *testing.T) {
	receivers := map[*Queue]*receiver{}
	storagetest.Appender(t, storagetest.AppenderSuite[*Queue]{
		Open: func(t testing.TB, dir string) *Queue {
			r := newReceiver(t)
			// The address changes when a store is opened again; the position
			// of the first address is not needed as nothing was sent.
			q, err := Open(Options{Dir: dir, Endpoints: []Endpoint{{URL: r.URL}}})
			require.NoError(t, err)
			receivers[q] = r
			return q
		},
		Read: func(t testing.TB, q *Queue) map[string][]storagetest.Point {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = q.Run(ctx)
			}()
			eventually(t, func() bool { return q.buffer.pending(q.buffer.cursors[0]) == 0 })
			cancel()
			<-done
			return receivers[q].points
		},
	})
}

func TestSendsInOrderAndDeletesWhatIsSent(t *testing.T) {
	r := newReceiver(t)
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}, MaxBytes: minMaxBytes})
	f.start(t)
	var want []float64
	for i := range 300 {
		f.append(t, 1, int64(i), float64(i))
		want = append(want, float64(i))
	}
	eventually(t, r.has(1, want...))
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == 300 })
	require.Zero(t, f.value(t, "pending_bytes"))
	eventually(t, func() bool { return f.value(t, "lag_seconds") == 0 })
	require.Equal(t, 300.0, f.value(t, "appended_samples_total"))
	require.Positive(t, f.value(t, "last_success_timestamp_seconds"))
	require.Equal(t, 2.0, f.value(t, "protocol_version"))
	h := r.headers[0]
	require.Equal(t, "application/x-protobuf;proto=io.prometheus.write.v2.Request", h.Get("Content-Type"))
	require.Equal(t, "snappy", h.Get("Content-Encoding"))
	require.Equal(t, "2.0.0", h.Get("X-Prometheus-Remote-Write-Version"))
	require.Contains(t, h.Get("User-Agent"), "binnacle")
	require.Empty(t, h.Get("Retry-Attempt"))
	_, err := testutil.GatherAndLint(f.reg)
	require.NoError(t, err)
}

func TestSplitsLargeBatches(t *testing.T) {
	r := newReceiver(t)
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
	var batch []storage.Sample
	for i := range 2*maxRequestSamples + 1 {
		batch = append(batch, f.sample(i, 1, float64(i)))
	}
	require.NoError(t, f.Append(t.Context(), batch))
	f.start(t)
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == float64(len(batch)) })
	requests, _, _ := r.count()
	require.Equal(t, 3, requests)
}

func TestRefusedOptions(t *testing.T) {
	dir := t.TempDir()
	for name, e := range map[string][]Endpoint{
		"at least one endpoint":   nil,
		"must not hold a user":    {{URL: "https://joe:hunter2@host/api/v1/write"}},
		"should look like":        {{URL: "host:7070"}},
		"cannot be parsed":        {{URL: "http://hunter2\x7f/"}},
		"configured twice":        {{URL: "http://a/"}, {URL: "http://a/"}},
		"cannot be set":           {{URL: "http://a/", Headers: map[string]string{"content-type": "hunter2"}}},
		"both a certificate file": {{URL: "http://a/?token=hunter2", CertFile: "x"}},
		"no such file":            {{URL: "https://a/?token=hunter2", CAFile: "/does/not/exist"}},
	} {
		_, err := Open(Options{Dir: dir, Endpoints: e})
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := Open(Options{Dir: dir, MaxBytes: 5, Endpoints: []Endpoint{{URL: "http://a/"}}})
	require.ErrorContains(t, err, "too small")
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	f := openQueue(t, Options{Dir: dir, Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	_, err := Open(Options{Dir: dir, Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	require.ErrorContains(t, err, "in use by another process")
	require.NoError(t, f.Close())
	q, err := Open(Options{Dir: dir, Endpoints: []Endpoint{{URL: "http://127.0.0.1:1/"}}})
	require.NoError(t, err)
	require.NoError(t, q.Close())
}
