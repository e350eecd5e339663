package logdb

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage"
)

// childEnv carries the folder that the child process of TestKill9 writes to.
const childEnv = "BINNACLE_LOGDB_TEST_CHILD"

const childPods = 8

// writeUntilKilled is the child: for each pod it finds how far an earlier child
// got, sends the last records again, as an agent does, and goes on. It prints
// the pod and number of the last record of every batch that was acknowledged.
func writeUntilKilled(dir string) int {
	db, err := Open(Options{Dir: dir, HeadBytes: 2 * minHeadBytes, BlockBytes: minBlock})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	next := make([]int, childPods)
	for pod := range next {
		next[pod] = childNext(db, pod)
	}
	for i := 0; ; i++ {
		pod := i % childPods
		n := 1 + rand.IntN(200)
		if err := db.Write(context.Background(), lines(pod, next[pod], n, childStart())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(pod, next[pod]+n-1)
		// Some are sent again with the next batch.
		next[pod] = max(0, next[pod]+n-rand.IntN(20))
	}
}

// childStart is the same for all children of a test, which pass it on.
func childStart() time.Time {
	ns, err := strconv.ParseInt(os.Getenv(childEnv+"_START"), 10, 64)
	if err != nil {
		panic(err)
	}
	return time.Unix(0, ns)
}

// childNext is the number behind the pod's last record, less a few.
func childNext(db *DB, pod int) int {
	q := storage.LogQuery{End: 1 << 62, Order: storage.Descending, Limit: 1}
	m, err := storage.NewLineMatcher(false, storage.LinePattern{Text: fmt.Sprintf("pod %d line", pod)})
	if err != nil {
		panic(err)
	}
	q.Lines = append(q.Lines, m)
	it, err := db.Select(context.Background(), q)
	if err != nil {
		panic(err)
	}
	defer it.Close()
	records, err := it.Next()
	if err != nil {
		return 0
	}
	return max(0, int(records[0].Offset/100)+1-rand.IntN(300))
}

// TestKill9 finds every acknowledged record, and none twice, after the process
// was killed at random moments of writing, cutting and merging.
func TestKill9(t *testing.T) {
	t.Parallel()
	dir, start := t.TempDir(), fmt.Sprint(hourAgo().Add(-24*time.Hour).UnixNano())
	acked := make([]int, childPods)
	for i := range acked {
		acked[i] = -1
	}
	for round := range 6 {
		delay := time.Duration(rand.IntN(250)) * time.Millisecond
		n := runAndKill(t, dir, start, delay, acked)
		t.Logf("round %d: killed after %v, %d batches acknowledged", round, delay, n)
	}
	db := open(t, Options{Dir: dir})
	next := make([]int, childPods)
	for _, r := range read(t, db, always()) {
		var pod, number int
		_, err := fmt.Sscanf(string(r.Line), "pod %d line %d of", &pod, &number)
		require.NoError(t, err)
		require.Equal(t, next[pod], number, "pod %d: each record once and in order", pod)
		next[pod]++
	}
	for pod, last := range acked {
		require.Greater(t, next[pod], last, "acknowledged records of pod %d are missing", pod)
	}
	require.NotZero(t, db.State().Segments)
}

// runAndKill starts the child, kills it after delay and notes what it was
// acknowledged.
func runAndKill(t *testing.T, dir, start string, delay time.Duration, acked []int) (batches int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, childEnv+"_START="+start)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	scanner := bufio.NewScanner(out)
	if !scanner.Scan() {
		_ = cmd.Wait()
		t.Fatalf("child did not get ready: %s", stderr.String())
	}
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for scanner.Scan() {
		var pod, last int
		if n, _ := fmt.Sscan(scanner.Text(), &pod, &last); n == 2 {
			acked[pod] = max(acked[pod], last)
			batches++
		}
	}
	require.Error(t, cmd.Wait(), "killed")
	require.Empty(t, stderr.String())
	return batches
}
