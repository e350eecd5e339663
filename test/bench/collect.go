package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// collectGroups is how many containers benchCollect has.
	collectGroups = 100
	// collectTime is how long it looks, at one reading a second.
	collectTime = 30 * time.Second
	// leastSeries is how many series of each container ours must have stored.
	leastSeries = 45
)

// benchCollect runs binnacle with an interval of 1 s beside cAdvisor and a
// Prometheus that scrapes it each second, and compares their CPU time.
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
	time.Sleep(20 * time.Second) // caches fill, first readings of slow collectors are over

	before := [3]float64{ours.cpu(), cadvisor.cpu(), prom.cpu()}
	time.Sleep(collectTime)
	after := [3]float64{ours.cpu(), cadvisor.cpu(), prom.cpu()}
	perTick := func(seconds float64) float64 { return seconds * 1e6 / collectGroups / collectTime.Seconds() }
	o, c, p := perTick(after[0]-before[0]), perTick(after[1]-before[1]), perTick(after[2]-before[2])
	stored, err := seriesPerContainer(oursAddr)
	if err != nil {
		return nil, err
	}
	row := versus(fmt.Sprintf("collect and store a container each second (%.0f series)", stored), "µs", o, c+p,
		fmt.Sprintf("cAdvisor %.0f + Prometheus %.0f", c, p), 1.0/20)
	row.OK = row.OK && stored >= leastSeries
	return []result{row}, nil
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
