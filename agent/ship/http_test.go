package ship

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
	"github.com/binnacle-obs/binnacle/storage/otlp"
)

// badServer takes OTLP logs in gzip, and fails in every way that HTTP has. It
// stores by identity, as servers do.
type badServer struct {
	*httptest.Server
	hang chan struct{}

	mu     sync.Mutex
	random *rand.Rand
	ids    map[storage.RecordID]int
	order  []int64
	faults map[string]int
}

func newBadServer(t *testing.T) *badServer {
	s := &badServer{
		hang: make(chan struct{}), random: rand.New(rand.NewPCG(5, 6)),
		ids: map[storage.RecordID]int{}, faults: map[string]int{},
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(s.hang) })
	return s
}

func (s *badServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return
	}
	before, after := s.draw()
	if fail(w, before, s.hang) {
		return
	}
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	body, err := io.ReadAll(unpacked)
	if err != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	batch, err := otlp.Decode(body, otlp.DecodeOptions{MaxRecords: 40})
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	s.store(batch.Records)
	fail(w, after, s.hang)
}

// draw decides on a fault before a body is read and one after it is stored.
func (s *badServer) draw() (before, after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := []string{"429", "503", "507", "cut", "hang", "", "", "", "", ""}
	before, after = faults[s.random.IntN(len(faults))], faults[3+s.random.IntN(len(faults)-3)]
	s.faults[before]++
	s.faults[after]++
	return before, after
}

// fail answers with a fault, if it is one.
func fail(w http.ResponseWriter, fault string, hang chan struct{}) bool {
	switch fault {
	case "429":
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "507":
		w.WriteHeader(http.StatusInsufficientStorage)
	case "cut":
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	case "hang":
		<-hang
	default:
		return false
	}
	return true
}

func (s *badServer) store(records []storage.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		id := records[i].ID()
		if s.ids[id] == 0 {
			s.order = append(s.order, id.Offset)
		}
		s.ids[id]++
	}
}

func TestOverHTTP(t *testing.T) {
	const deliveries, perDelivery = 60, 20
	s, d := newBadServer(t), &done{}
	client, err := otlp.NewClient(otlp.ClientOptions{Endpoint: otlp.Endpoint{URL: s.URL, Timeout: 30 * time.Millisecond}})
	require.NoError(t, err)
	defer client.Close()
	o := options(client)
	o.BatchBytes, o.Grace = 5000, time.Millisecond
	f := start(t, o)
	for i := range deliveries {
		require.NoError(t, f.Push(context.Background(), delivery(d, i, 0, i*perDelivery, perDelivery)))
	}
	require.Eventually(t, func() bool { return len(d.list()) == deliveries }, 30*time.Second, time.Millisecond)
	f.stop()
	require.True(t, slices.IsSorted(d.list()))
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, upTo(deliveries*perDelivery), s.order)
	for _, fault := range []string{"429", "503", "507", "cut", "hang"} {
		require.Positive(t, s.faults[fault], fault)
	}
	for _, reason := range []string{"http_429", "http_503", "http_507", "network", "timeout", "too_large"} {
		require.Positive(t, f.value(t, "retried_records_total", reason), reason)
	}
}
