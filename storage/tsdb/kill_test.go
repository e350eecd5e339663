package tsdb

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

// childEnv carries the folder that the child process of TestKill9 appends to.
const childEnv = "BINNACLE_TSDB_TEST_CHILD"

const childSeries = 50

// appendUntilKilled is the child: it appends batch after batch and prints the
// timestamp of each that was acknowledged. Every tenth goes back in time.
func appendUntilKilled(dir string) int {
	db, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	begin := time.Now().Add(-2 * time.Hour).UnixMilli()
	all := newSeries(fmt.Sprint("killed_", time.Now().UnixNano()), childSeries)
	fmt.Println(all[0].Family.Name)
	for i := int64(0); ; i++ {
		ts := begin + i*10
		if i%10 == 9 {
			ts -= 95
		}
		if err := db.Append(context.Background(), samples(all, ts)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(ts)
	}
}

// TestKill9 loses no acknowledged sample, in order or not, when the process is
// killed while it appends.
func TestKill9(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	want, total := map[string][]storagetest.Point{}, 0
	for round := range 4 {
		delay := time.Duration(rand.IntN(100)) * time.Millisecond
		name, acked := runAndKill(t, dir, delay)
		t.Logf("round %d: killed after %v, %d batches acknowledged", round, delay, len(acked))
		total += len(acked)
		for _, ts := range acked {
			for _, s := range samples(newSeries(name, childSeries), ts) {
				key := s.Series.Labels.String()
				want[key] = append(want[key], storagetest.Point{T: s.T, V: s.V})
			}
		}
	}
	require.NotZero(t, total)
	requireContains(t, readAll(t, open(t, Options{Dir: dir})), want)
}

// runAndKill starts the child, kills it after delay and returns what it printed.
func runAndKill(t *testing.T, dir string, delay time.Duration) (name string, acked []int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "child did not get ready")
	require.True(t, lines.Scan())
	name = lines.Text()
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines.Scan() {
		var ts int64
		_, err := fmt.Sscan(lines.Text(), &ts)
		require.NoError(t, err)
		acked = append(acked, ts)
	}
	require.Error(t, cmd.Wait(), "killed")
	return name, acked
}

// requireContains checks that got has every point of want.
func requireContains(t testing.TB, got, want map[string][]storagetest.Point) {
	t.Helper()
	missing := 0
	for key, points := range want {
		have := make(map[storagetest.Point]bool, len(got[key]))
		for _, p := range got[key] {
			have[p] = true
		}
		for _, p := range points {
			if !have[p] {
				missing++
			}
		}
	}
	require.Zero(t, missing, "acknowledged samples are missing")
}
