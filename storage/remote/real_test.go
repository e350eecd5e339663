package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	upstreamstorage "github.com/prometheus/prometheus/storage"
	upstream "github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// TestUpstreamReceiver sends to upstream's own remote write handler over its
// TSDB, with either version and with both.
func TestUpstreamReceiver(t *testing.T) {
	for name, c := range map[string]struct {
		accepted remoteapi.MessageTypes
		version  float64
	}{
		"both": {remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}, 2},
		"2.0":  {remoteapi.MessageTypes{remoteapi.WriteV2MessageType}, 2},
		"1.0":  {remoteapi.MessageTypes{remoteapi.WriteV1MessageType}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			db := teststorage.New(t)
			h := upstream.NewWriteHandler(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db, c.accepted, false, false, true)
			srv := httptest.NewServer(h)
			defer srv.Close()
			f := openQueue(t, Options{Endpoints: []Endpoint{{URL: srv.URL}}})
			sendEverything(t, f)
			require.Equal(t, c.version, f.value(t, "protocol_version"))
			checkSamples(t, db)
			if c.version == 2 {
				// For 1.0 that handler looks for the series of an exemplar
				// before it has stored the histogram that makes the series.
				checkExemplar(t, db)
			}
		})
	}
}

// sendEverything appends every kind of sample and waits until all are stored.
func sendEverything(t *testing.T, f *fixture) {
	t.Helper()
	f.start(t)
	for i := range int64(3) {
		require.NoError(t, f.Append(t.Context(), []storage.Sample{f.sample(1, 1000+i, float64(i)), f.sample(2, 1000+i, -float64(i))}))
	}
	f.append(t, 2, 2000, math.Float64frombits(value.StaleNaN))
	app := f.AppendableV2().AppenderV2(t.Context())
	_, err := app.Append(0, labels.FromStrings(model.MetricNameLabel, "h"), 500, 1000, 0, testHistogram(1), nil, upstreamstorage.AppendV2Options{
		Exemplars: []exemplar.Exemplar{{Labels: labels.FromStrings("trace_id", "abc"), Value: 3, Ts: 999, HasTs: true}},
	})
	require.NoError(t, err)
	_, err = app.Append(0, labels.FromStrings(model.MetricNameLabel, "fh"), 0, 1000, 0, nil, testFloatHistogram(2), upstreamstorage.AppendV2Options{})
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == 9 }, f.log)
	require.Zero(t, f.value(t, "rejected_samples_total"))
	require.Zero(t, f.value(t, "rejected_exemplars_total"))
}

func checkSamples(t *testing.T, db *teststorage.TestStorage) {
	t.Helper()
	q, err := db.Querier(0, 10_000)
	require.NoError(t, err)
	defer q.Close()
	got := map[string][]string{}
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".+"))
	for set.Next() {
		name := set.At().Labels().String()
		for it := set.At().Iterator(nil); ; {
			kind := it.Next()
			if kind == chunkenc.ValNone {
				require.NoError(t, it.Err())
				break
			}
			switch kind {
			case chunkenc.ValFloat:
				ts, v := it.At()
				got[name] = append(got[name], fmt.Sprint(ts, v, value.IsStaleNaN(v)))
			case chunkenc.ValHistogram:
				ts, h := it.AtHistogram(nil)
				got[name] = append(got[name], fmt.Sprint(ts, h.Equals(testHistogram(1))))
			default:
				ts, h := it.AtFloatHistogram(nil)
				got[name] = append(got[name], fmt.Sprint(ts, h.Equals(testFloatHistogram(2))))
			}
		}
	}
	require.NoError(t, set.Err())
	require.Equal(t, map[string][]string{
		`{__name__="m", i="1"}`: {"1000 0 false", "1001 1 false", "1002 2 false"},
		`{__name__="m", i="2"}`: {"1000 -0 false", "1001 -1 false", "1002 -2 false", "2000 NaN true"},
		`{__name__="h"}`:        {"1000 true"},
		`{__name__="fh"}`:       {"1000 true"},
	}, got)
}

func checkExemplar(t *testing.T, db *teststorage.TestStorage) {
	t.Helper()
	e, err := db.ExemplarQuerier(context.Background())
	require.NoError(t, err)
	found, err := e.Select(0, 10_000, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "h")})
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Len(t, found[0].Exemplars, 1)
	require.Equal(t, "abc", found[0].Exemplars[0].Labels.Get("trace_id"))
}

// TestDebianPrometheus sends to the prometheus binary in the path, an old one
// that understands only 1.0 and accepts a 2.0 request as an empty 1.0 one.
func TestDebianPrometheus(t *testing.T) {
	if os.Getenv("BINNACLE_SYSTEM_TESTS") == "" {
		t.Skip("BINNACLE_SYSTEM_TESTS is not set")
	}
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte("global: {}\n"), 0o600))
	cmd := exec.Command(binary, //nolint:noctx // ended below
		"--web.enable-remote-write-receiver", "--web.listen-address="+address,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--config.file="+filepath.Join(dir, "prometheus.yml"))
	require.NoError(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()

	// The receiver is not up yet: the queue waits for it.
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: "http://" + address + "/api/v1/write"}}})
	f.start(t)
	now := time.Now().UnixMilli()
	const rounds, width = 50, 200
	for n := range int64(rounds) {
		var batch []storage.Sample
		for i := range width {
			batch = append(batch, f.sample(i, now-rounds+n, float64(n)))
		}
		require.NoError(t, f.Append(t.Context(), batch))
	}
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == rounds*width }, f.log)
	require.Equal(t, 1.0, f.value(t, "protocol_version"))
	require.Zero(t, f.value(t, "rejected_samples_total"))

	resp, err := http.Get("http://" + address + "/api/v1/query?query=sum(count_over_time(m[5m]))") //nolint:noctx // local
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Len(t, answer.Data.Result, 1)
	require.Equal(t, fmt.Sprint(rounds*width), answer.Data.Result[0].Value[1])
}
