package remote

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	upstream "github.com/prometheus/prometheus/storage/remote"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// fail answers the first n requests with a status.
func fail(n, status int, header ...string) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, _ *http.Request, i int) bool {
		if i > n {
			return true
		}
		for j := 0; j < len(header); j += 2 {
			w.Header().Set(header[j], header[j+1])
		}
		http.Error(w, "sorry about that", status)
		return false
	}
}

func TestRetries(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n <= 3 {
			panic(http.ErrAbortHandler) // the connection is cut
		}
		return true
	}
	hang := func(_ http.ResponseWriter, r *http.Request, n int) bool {
		if n <= 3 {
			<-r.Context().Done()
			return false
		}
		return true
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, int) bool
		reason string
	}{
		"500":         {fail(3, 500), "http_500"},
		"503":         {fail(3, 503), "http_503"},
		"401":         {fail(3, 401), "http_401"},
		"403":         {fail(3, 403), "http_403"},
		"404":         {fail(3, 404), "http_404"},
		"429":         {fail(3, 429), "http_429"},
		"redirection": {fail(3, 307, "Location", "http://127.0.0.1:1/elsewhere?secret=hunter2"), "http_307"},
		"cut":         {cut, "network"},
		"hang":        {hang, "network"},
		"https": {func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n <= 3 {
				http.Error(w, "Client sent an HTTP request to an HTTPS server.", http.StatusBadRequest)
			}
			return n > 3
		}, "network"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.setAnswer(c.answer)
			e := Endpoint{URL: r.URL + "/write?secret=hunter2", Timeout: 30 * time.Second}
			if name == "hang" {
				e.Timeout = 20 * time.Millisecond
			}
			f := openQueue(t, Options{Endpoints: []Endpoint{e}})
			f.append(t, 1, 1, 1)
			f.append(t, 1, 2, 2)
			f.start(t)
			eventually(t, func() bool { return f.value(t, "sent_samples_total") == 2 })
			require.Equal(t, []float64{1, 2}, r.values(1))
			require.GreaterOrEqual(t, f.value(t, "retried_samples_total", "reason", c.reason), 3.0)
			require.Zero(t, f.value(t, "rejected_samples_total"))
			require.Equal(t, "3", r.headers[3].Get("Retry-Attempt"))
			require.Contains(t, f.log.String(), "Sending samples failed")
			require.Contains(t, f.log.String(), "answers again")
			require.NotContains(t, f.log.String(), "hunter2")
		})
	}
}

func TestPause(t *testing.T) {
	r := newReceiver(t)
	r.setAnswer(fail(1, 429, "Retry-After", "77"))
	c, err := newClient(Endpoint{URL: r.URL})
	require.NoError(t, err)
	defer c.Close()
	got, err := c.post(t.Context(), nil, true, 0)
	require.NoError(t, err)
	s := &sender{backoff: minBackoff}
	require.Equal(t, 77*time.Second, s.pause(0, got))
	for attempt, longest := range []time.Duration{minBackoff, 2 * minBackoff, 4 * minBackoff} {
		d := s.pause(attempt, reply{})
		require.GreaterOrEqual(t, d, longest/2)
		require.LessOrEqual(t, d, longest)
	}
	require.LessOrEqual(t, s.pause(1<<20, reply{}), maxBackoff)
}

func TestRejected(t *testing.T) {
	for _, status := range []int{400, 413, 422} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			r := newReceiver(t)
			f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
			f.append(t, 1, 1, 1)
			f.start(t)
			eventually(t, r.has(1, 1)) // known to speak 2.0
			n, _, _ := r.count()
			r.setAnswer(fail(n+1, status))
			f.append(t, 1, 2, 2)
			f.append(t, 1, 3, 3)
			eventually(t, r.has(1, 1, 3))
			eventually(t, func() bool { return f.value(t, "sent_samples_total") == 2 })
			require.Equal(t, 1.0, f.value(t, "rejected_samples_total", "reason", "http_"+strconv.Itoa(status)))
			require.Zero(t, f.value(t, "retried_samples_total"))
			require.Contains(t, f.log.String(), "sorry about that")
		})
	}
}

func TestPartialWrite(t *testing.T) {
	r := newReceiver(t)
	r.setAnswer(func(w http.ResponseWriter, _ *http.Request, n int) bool {
		upstream.WriteResponseStats{Samples: 2}.SetHeaders(w)
		status := http.StatusBadRequest
		if n == 2 {
			status = http.StatusOK
		}
		http.Error(w, "one is out of order", status)
		return false
	})
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
	for range 2 {
		require.NoError(t, f.Append(t.Context(), []storage.Sample{f.sample(1, 1, 1), f.sample(2, 1, 1), f.sample(3, 1, 1)}))
	}
	f.start(t)
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == 4 })
	require.Equal(t, 1.0, f.value(t, "rejected_samples_total", "reason", "http_400"))
	require.Equal(t, 1.0, f.value(t, "rejected_samples_total", "reason", "not_written"))
}

func TestFallsBackToVersion1(t *testing.T) {
	refuse := func(status int) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, _ int) bool {
			if !strings.Contains(r.Header.Get("Content-Type"), "v2") {
				return true
			}
			http.Error(w, "what is this", status)
			return false
		}
	}
	for name, set := range map[string]func(*receiver){
		"415":                  func(r *receiver) { r.answer = refuse(415) },
		"400":                  func(r *receiver) { r.answer = refuse(400) },
		"nothing is confirmed": func(r *receiver) { r.onlyV1 = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			set(r)
			f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
			f.append(t, 1, 1, 1)
			f.append(t, 1, 2, 2)
			f.start(t)
			eventually(t, func() bool { return f.value(t, "sent_samples_total") == 2 })
			require.Equal(t, []float64{1, 2}, r.values(1))
			requests, _, _ := r.count()
			require.Equal(t, 3, requests, "2.0 is tried once only")
			require.Equal(t, 1.0, f.value(t, "protocol_version"))
			require.Equal(t, "0.1.0", r.headers[2].Get("X-Prometheus-Remote-Write-Version"))
			require.Equal(t, "application/x-protobuf", r.headers[2].Get("Content-Type"))
			require.Zero(t, f.value(t, "rejected_samples_total"))
		})
	}
}

func TestVersion2IsTriedAgain(t *testing.T) {
	r := newReceiver(t)
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: r.URL}}})
	f.senders[0].v1Until = time.Now().Add(time.Hour)
	f.append(t, 1, 1, 1)
	stop := f.start(t)
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == 1 })
	stop()
	f.senders[0].v1Until = time.Now().Add(-time.Hour)
	f.append(t, 1, 2, 2)
	f.start(t)
	eventually(t, func() bool { return f.value(t, "sent_samples_total") == 2 })
	_, v1, v2 := r.count()
	require.Equal(t, []int{1, 1}, []int{v1, v2})
}

func TestOneReceiverDoesNotDelayAnother(t *testing.T) {
	up, down := newReceiver(t), newReceiver(t)
	down.setAnswer(fail(1<<30, 503))
	f := openQueue(t, Options{Endpoints: []Endpoint{{URL: up.URL}, {URL: down.URL}}})
	f.start(t)
	var want []float64
	for i := range 50 {
		f.append(t, 1, int64(i), float64(i))
		want = append(want, float64(i))
	}
	eventually(t, up.has(1, want...))
	require.Positive(t, f.value(t, "pending_bytes", "endpoint", down.URL))
	eventually(t, func() bool { return f.value(t, "lag_seconds", "endpoint", down.URL) > 0 })
	// It comes back: everything arrives, in order, along with what is new.
	down.setAnswer(nil)
	f.append(t, 1, 50, 50)
	want = append(want, 50)
	eventually(t, down.has(1, want...))
	eventually(t, up.has(1, want...))
}
