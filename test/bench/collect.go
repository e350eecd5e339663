package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/binnacle-obs/binnacle/collector"
	"github.com/binnacle-obs/binnacle/storage/tsdb"
)

const (
	// collectGroups is how many containers benchCollect has.
	collectGroups = 100
	// settleTime lets caches fill and new containers become old ones, which
	// everybody reads more thoroughly.
	settleTime = 60 * time.Second
	// collectTime is how long it looks, at one reading a second.
	collectTime = 60 * time.Second
	// wholeBar is what the whole program, which also does node_exporter's work
	// and serves, may cost of what cAdvisor and Prometheus cost.
	wholeBar = 0.1
	// leastSeries is how many series of each container ours must have stored.
	leastSeries = 45
)

// benchCollect collects containers into a TSDB each second, beside cAdvisor and
// a Prometheus that scrapes it each second, and beside the whole program, and
// compares their CPU time.
func benchCollect() (rows []result, err error) {
	f, err := newFleet(collectGroups)
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "binnacle-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cadvisorAddr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cadvisor, err := launchCadvisor(cadvisorAddr)
	if err != nil {
		return nil, err
	}
	defer cadvisor.close()
	config := filepath.Join(dir, "prometheus.yml")
	scrape := fmt.Sprintf("scrape_configs:\n- {job_name: cadvisor, scrape_interval: 1s, static_configs: [{targets: ['%s']}]}\n", cadvisorAddr)
	if err := os.WriteFile(config, []byte(scrape), 0o600); err != nil {
		return nil, err
	}
	prom, _, err := launchPrometheus(dir, config)
	if err != nil {
		return nil, err
	}
	defer prom.close()
	oursAddr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ours, err := launch("http://"+oursAddr+"/-/ready", "build/binnacle", "run", "--listen", oursAddr,
		"--data-dir", filepath.Join(dir, "binnacle"), "--interval", "1s", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	defer ours.close()
	alone, err := launchCollector(filepath.Join(dir, "collector"))
	if err != nil {
		return nil, err
	}
	defer alone.close()
	time.Sleep(settleTime)

	before := [4]float64{alone.cpu(), cadvisor.cpu(), prom.cpu(), ours.cpu()}
	time.Sleep(collectTime)
	after := [4]float64{alone.cpu(), cadvisor.cpu(), prom.cpu(), ours.cpu()}
	perTick := func(i int) float64 { return (after[i] - before[i]) * 1e6 / collectGroups / collectTime.Seconds() }
	o, c, p, whole := perTick(0), perTick(1), perTick(2), perTick(3)
	stored, err := seriesPerContainer(oursAddr)
	if err != nil {
		return nil, err
	}
	peers := fmt.Sprintf("cAdvisor %.0f + Prometheus %.0f", c, p)
	row := versus(fmt.Sprintf("collect and store a container each second (%.0f series)", stored), "CPU-µs", o, c+p, peers, 1.0/20)
	row.OK = row.OK && stored >= leastSeries
	return []result{row, versus("all of binnacle run, per container each second", "CPU-µs", whole, c+p, peers, wholeBar)}, nil
}

// launchCollector starts this program as serveCollector.
func launchCollector(dir string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return launch("http://"+addr+"/", self, "-collect", dir, "-listen", addr)
}

// serveCollector collects containers, and nothing else, into a TSDB in dir.
// addr only tells that it has begun.
func serveCollector(dir, addr string) error {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := tsdb.Open(ctx, tsdb.Options{Dir: dir, Logger: log})
	if err != nil {
		return err
	}
	c, err := collector.New(collector.Options{Node: "bench", Interval: time.Second, NodeInterval: 24 * time.Hour, Logger: log})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	server := &http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go func() { _ = server.ListenAndServe() }()
	return errors.Join(c.Run(ctx, db), db.Close())
}

func launchCadvisor(addr string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return launch("http://"+addr+"/metrics", self, "-cadvisor", addr)
}

// launchPrometheus starts Debian's Prometheus with remote write on.
func launchPrometheus(dir, config string) (*program, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := launch("http://"+addr+"/-/ready", "prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
		"--web.listen-address="+addr, "--web.enable-remote-write-receiver", "--log.level=warn")
	return p, addr, err
}

// seriesPerContainer is how many series a container of the fleet has.
func seriesPerContainer(addr string) (float64, error) {
	return scalar(addr, `min(count by (id) ({__name__=~"container_.*",id=~"/kubepods/pod[^/]+/.+"}))`)
}

// scalar evaluates an expression with one result.
func scalar(addr, expr string) (float64, error) {
	resp, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" || len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("%s: %d results %s", expr, len(answer.Data.Result), answer.Error)
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	return strconv.ParseFloat(text, 64)
}
