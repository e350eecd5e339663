//go:build system

package system

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/binnacle-obs/binnacle/test/ledger"
)

// TestLogsTail follows while lines come in: what is stored
// already and what comes are given once each, without a gap between them.
func TestLogsTail(t *testing.T) {
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.startServer(t)
	p.startAgent(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	writing, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	f.write(writing, pace{60, 400 * time.Millisecond})
	followers := make([]*follower, 4)
	for i := range followers {
		follow := followFunc(followLines)
		if i%2 == 1 {
			follow = followSocket
		}
		followers[i] = &follower{suffix: i%2 == 1, arrived: make(chan ledger.Record, 1<<20), ended: make(chan error, 1)}
		go followers[i].run(ctx, p.server, follow)
		time.Sleep(time.Second)
	}
	f.wg.Wait()
	f.check(t, p.server)
	for i, w := range followers {
		if err := w.check(t, f.accounts()); err != nil {
			t.Errorf("follower %d: %v", i, err)
		}
	}
}

// follower takes what a live tail sends.
type follower struct {
	// suffix tells that it gets only some of what was there before.
	suffix  bool
	arrived chan ledger.Record
	ended   chan error
}

// followFunc follows everything until ctx ends.
type followFunc func(ctx context.Context, addr string, each func(ledger.Record)) error

func (w *follower) run(ctx context.Context, addr string, follow followFunc) {
	w.ended <- follow(ctx, addr, func(r ledger.Record) { w.arrived <- r })
}

// check takes records until the last of each log is there and half a second
// brings no other, or there is no further one for a while.
func (w *follower) check(t *testing.T, accounts []ledger.Account) error {
	c := ledger.NewChecker(accounts)
	c.Ordered = false // of two batches on their way, the later one may be the first to come
	c.Suffix = w.suffix
	for {
		patience := 30 * time.Second
		if c.Ended() {
			patience = 500 * time.Millisecond
		}
		select {
		case r := <-w.arrived:
			c.Add(r)
			continue
		case err := <-w.ended:
			return fmt.Errorf("ended early: %w", err)
		case <-time.After(patience):
		}
		report := c.Report()
		t.Logf("%d records of %d entries followed", report.Records, report.Expected)
		return report.Err()
	}
}

// tailParams ask for what is stored already, so many at most, and all that
// comes.
func tailParams(limit string) url.Values {
	params := all()
	params.Del("end")
	params.Del("direction")
	params.Set("limit", limit)
	return params
}

func followLines(ctx context.Context, addr string, each func(ledger.Record)) error {
	_, err := logLines(ctx, addr, "/loki/api/v1/tail", tailParams("0"), func(r found) error {
		each(ledger.Record{Time: r.time, Line: []byte(*r.Line), Labels: r.labels})
		return nil
	})
	return err
}

// followSocket follows as Loki's clients do, with the highest limit there is.
func followSocket(ctx context.Context, addr string, each func(ledger.Record)) error {
	//nolint:bodyclose // the connection takes the body over
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/loki/api/v1/tail?"+tailParams("5000").Encode(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(256 << 20)
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var m struct {
			Streams []struct {
				Stream map[string]string
				Values [][]json.RawMessage
			}
			Dropped []json.RawMessage `json:"dropped_entries"`
		}
		if err := json.Unmarshal(message, &m); err != nil {
			return err
		}
		if len(m.Dropped) > 0 {
			return fmt.Errorf("%d entries were left out", len(m.Dropped))
		}
		// Entries of one log stand apart where their levels differ.
		var records []ledger.Record
		for _, s := range m.Streams {
			for _, v := range s.Values {
				var ns, line string
				if err := errors.Join(json.Unmarshal(v[0], &ns), json.Unmarshal(v[1], &line)); err != nil {
					return err
				}
				at, err := strconv.ParseInt(ns, 10, 64)
				if err != nil {
					return err
				}
				records = append(records, ledger.Record{Time: at, Line: []byte(line), Labels: s.Stream})
			}
		}
		slices.SortStableFunc(records, func(a, b ledger.Record) int { return cmp.Compare(a.Time, b.Time) })
		for _, r := range records {
			each(r)
		}
	}
}

// TestLogsLatency measures how long it takes from the write of a line until
// "binnacle logs -f" prints it, while 20,000 lines a second come in from other
// containers. The figures are printed, none is judged but a hang.
func TestLogsLatency(t *testing.T) {
	const probes = 1000
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.startServer(t)
	p.startAgent(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.steady(ctx, 20_000)

	probe := filepath.Join(f.root, "probe_probe_11111111-2222-3333-4444-555555555555", "app", "0.log")
	if err := os.MkdirAll(filepath.Dir(probe), 0o755); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(probe)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	delays, stopped := printed(t, p.server)
	awaitProbe(t, file, delays)
	before, begin := f.entries(), time.Now()
	var all []time.Duration
	for i := range probes {
		writeProbe(t, file, i)
		sleep(ctx, 10*time.Millisecond)
	}
	for len(all) < probes {
		select {
		case d := <-delays:
			all = append(all, d)
		case <-time.After(30 * time.Second):
			t.Fatalf("%d of %d lines are printed", len(all), probes)
		}
	}
	rate := float64(f.entries()-before) / time.Since(begin).Seconds()
	cancel()
	f.wg.Wait()
	stopped()
	slices.Sort(all)
	p50, p99 := all[len(all)/2], all[len(all)*99/100]
	t.Logf("written to printed, %d lines while %.0f a second come in: p50 %v, p99 %v, max %v", probes, rate, p50, p99, all[len(all)-1])
}

// steady lets the containers write so many lines a second in all.
func (f *fleet) steady(ctx context.Context, perSecond int) {
	const step = 10 * time.Millisecond
	for _, l := range f.logs {
		begin, done := time.Now(), 0
		f.each(ctx, func() error {
			sleep(ctx, step)
			due := int(time.Since(begin).Seconds()*float64(perSecond)/float64(len(f.logs))) - done
			done += due
			return l.Write(due)
		})
	}
}

// writeProbe writes a line that says when it was written.
func writeProbe(t testing.TB, file *os.File, i int) {
	t.Helper()
	now := time.Now()
	if _, err := fmt.Fprintf(file, "%s stdout F probe %d %d\n", now.UTC().Format(time.RFC3339Nano), i, now.UnixNano()); err != nil {
		t.Fatal(err)
	}
}

// awaitProbe writes until the first line has arrived: everything is running.
func awaitProbe(t testing.TB, file *os.File, delays <-chan time.Duration) {
	t.Helper()
	wrote := 0
	await(t, "the first line", func() bool {
		writeProbe(t, file, -1)
		wrote++
		select {
		case <-delays:
			wrote--
			return true
		default:
			return false
		}
	})
	for range wrote {
		<-delays
	}
}

// printed runs "binnacle logs -f" for the probe and returns how old each line
// is when it is printed.
func printed(t testing.TB, addr string) (delays <-chan time.Duration, stop func()) {
	t.Helper()
	cmd := exec.Command(build+"/binnacle", "logs", "-f", "-n", "probe", "-o", "raw", "--addr", "http://"+addr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var messages bytes.Buffer
	cmd.Stderr = &messages
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := make(chan time.Duration, 1<<16)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			f := strings.Fields(lines.Text())
			at, err := strconv.ParseInt(f[len(f)-1], 10, 64)
			if err != nil {
				t.Errorf("printed %q", lines.Text())
				return
			}
			c <- time.Since(time.Unix(0, at))
		}
	}()
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-read
		err := cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 && code != 0 {
			t.Errorf("binnacle logs -f ended with %v: %s", err, messages.String())
		}
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return c, stop
}
