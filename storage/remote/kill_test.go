package remote

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// Environment of the child that TestKilled starts.
const (
	childDir   = "BINNACLE_TEST_REMOTE_DIR"
	childURL   = "BINNACLE_TEST_REMOTE_URL"
	childFirst = "BINNACLE_TEST_REMOTE_FIRST"
)

// runAsChild turns the test binary into a process that appends and sends
// samples, and writes the number of each acknowledged batch to its output,
// until it is killed.
func runAsChild() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	first, _ := strconv.Atoi(os.Getenv(childFirst))
	q, err := Open(Options{Dir: dir, MaxBytes: 64 << 20, Endpoints: []Endpoint{{URL: os.Getenv(childURL)}}})
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	go func() { _ = q.Run(context.Background()) }()
	series := []*storage.Series{testSeries(0), testSeries(1), testSeries(2)}
	for n := first; ; n++ {
		var batch []storage.Sample
		for i, s := range series {
			batch = append(batch, storage.Sample{Series: s, T: int64(n), V: float64(n*10 + i)})
		}
		if err := q.Append(context.Background(), batch); err != nil {
			fmt.Println("error", err)
			return true
		}
		fmt.Println(n)
	}
}

// killedRound runs a child until a random batch is acknowledged, and kills it.
// It returns the last batch that was acknowledged.
func killedRound(t *testing.T, dir, url string, first int) int {
	cmd := exec.Command(os.Args[0]) //nolint:noctx // killed below
	cmd.Env = append(os.Environ(), childDir+"="+dir, childURL+"="+url, childFirst+"="+strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	last, stop := first-1, first+rand.IntN(400)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err, lines.Text())
		last = n
		if n == stop {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "it ends by the signal only")
	require.GreaterOrEqual(t, last, stop)
	return last
}

func TestKilled(t *testing.T) {
	dir := t.TempDir()
	r := newReceiver(t)
	acknowledged := map[int]bool{}
	next := 0
	for range 20 {
		last := killedRound(t, dir, r.URL, next)
		for n := next; n <= last; n++ {
			acknowledged[n] = true
		}
		next = last + 1
		// What was written but not acknowledged may be there too: leave a gap
		// so that it cannot be mistaken.
		next += 10
	}
	f := openQueue(t, Options{Dir: dir, MaxBytes: 64 << 20, Endpoints: []Endpoint{{URL: r.URL}}})
	f.start(t)
	eventually(t, func() bool { return f.value(t, "pending_bytes") == 0 })
	require.Zero(t, f.value(t, "damaged_entries_total"))
	for i := range 3 {
		got := map[float64]int{}
		for _, v := range r.values(i) {
			got[v]++
		}
		repeated := 0
		for n := range acknowledged {
			require.Positive(t, got[float64(n*10+i)], "batch %d of series %d is missing", n, i)
			repeated += got[float64(n*10+i)] - 1
		}
		// One request may be sent twice around each kill.
		require.LessOrEqual(t, repeated, 20)
	}
	t.Logf("%d batches acknowledged", len(acknowledged))
}
