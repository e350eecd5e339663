package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/binnacle-obs/binnacle/test/corpus"
)

// shipBytes is the size of the logs, by the flag -ship-bytes.
var shipBytes int64 = 128 << 20

const (
	// shipFiles is how many containers wrote the logs.
	shipFiles = 50
	gibibyte  = 1 << 30
	// shipTimeout is how long an agent may take for all of them.
	shipTimeout = 5 * time.Minute
	// settling is how long an agent is busy with its start, and then how long
	// it is watched without logs.
	settling = 10 * time.Second
	// shipRSS is what an agent may take at most, in MB.
	shipRSS = 100
)

// benchShip measures the floor of shipping logs, step by step, and then an agent
// that ships the same files to receivers that store nothing.
func benchShip() ([]result, error) {
	dir, err := os.MkdirTemp("", "binnacle-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	staging := filepath.Join(dir, "staging")
	files, err := corpus.Write(staging, shipFiles, shipBytes, corpus.Shape{}, time.Now().UTC().Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	null, err := launch("http://"+addr+"/count", os.Args[0], "-null", addr)
	if err != nil {
		return nil, err
	}
	defer null.close()
	rows, floor, err := shipLadder(files, "http://"+addr)
	if err != nil {
		return rows, err
	}
	b := shipBench{dir: dir, staging: staging, files: files, url: "http://" + addr}
	for _, to := range []struct {
		name, flag string
		bar, floor float64
	}{
		{"our server", "--server", 5, floor.otlp},
		{"a null Elasticsearch", "--elasticsearch", 9, floor.bulk},
	} {
		got, err := b.agent(to.name, to.flag, to.bar, to.floor)
		rows = append(rows, got...)
		if err != nil {
			return rows, fmt.Errorf("agent to %s: %w", to.name, err)
		}
	}
	return rows, nil
}

// shipBench has what the runs of agents share.
type shipBench struct {
	dir, staging string
	files        corpus.Files
	url          string // of the receiver
}

// agent measures one that ships all files, which appear when it runs already.
func (b *shipBench) agent(name, flag string, bar, floor float64) (rows []result, err error) {
	root := filepath.Join(b.dir, "pods"+flag)
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	before, err := b.received()
	if err != nil {
		return nil, err
	}
	agent, err := launch("http://"+addr+"/-/ready", "build/binnacle", "agent", "--listen", addr, "--data-dir", filepath.Join(b.dir, "data"+flag),
		"--interval", "60s", "--logs", root, flag, b.url, "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	defer agent.close()
	idle := agent.idle()
	start, begin := agent.cpu(), time.Now()
	if err := movePods(b.staging, root); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, movePods(root, b.staging)) }()
	if err := b.wait(before); err != nil {
		return nil, err
	}
	// What the metrics of the node cost meanwhile is not counted.
	cpu := (agent.cpu() - start - idle*time.Since(begin).Seconds()) / float64(b.files.Bytes) * gibibyte
	rss := agent.memory("VmHWM") / 1e6
	return []result{
		{
			Name: "ship CRI logs to " + name + ", agent", Unit: "CPU-s/GiB", Ours: cpu,
			Reference: floor, ReferenceName: "the floor in this run", Ratio: cpu / bar, Bar: 1, OK: cpu <= bar,
		},
		{
			Name: "ship CRI logs to " + name + ", peak resident", Unit: "MB", Ours: rss,
			Reference: shipRSS, ReferenceName: "the budget", Ratio: rss / shipRSS, Bar: 1, OK: rss <= shipRSS,
		},
	}, nil
}

// idle is the CPU time that a program uses in a second when it has nothing to
// ship.
func (p *program) idle() float64 {
	time.Sleep(settling)
	start := p.cpu()
	time.Sleep(settling)
	return (p.cpu() - start) / settling.Seconds()
}

// movePods moves the folders of pods, all at once as far as a reader can tell.
func movePods(from, to string) error {
	pods, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, pod := range pods {
		if err := os.Rename(filepath.Join(from, pod.Name()), filepath.Join(to, pod.Name())); err != nil {
			return err
		}
	}
	return nil
}

// tally is what a receiver has got.
type tally struct{ records, wrong int64 }

func (b *shipBench) received() (t tally, err error) {
	resp, err := http.Get(b.url + "/count")
	if err != nil {
		return t, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return t, err
	}
	_, err = fmt.Sscan(string(text), &t.records, &t.wrong)
	return t, err
}

// wait until the receiver has got every line once, and all are right.
func (b *shipBench) wait(before tally) error {
	want := int64(0)
	for _, n := range b.files.Lines {
		want += n
	}
	var got tally
	for deadline := time.Now().Add(shipTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now, err := b.received()
		if err != nil {
			return err
		}
		got = tally{now.records - before.records, now.wrong - before.wrong}
		if got.records >= want {
			break
		}
	}
	if got.records != want || got.wrong > 0 {
		return fmt.Errorf("%d lines arrived of %d, %d of them wrong", got.records, want, got.wrong)
	}
	return nil
}

// shipCPU is the CPU time of this process, all threads together, in seconds.
func shipCPU() float64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano()).Seconds()
}
