package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
)

const (
	// remoteSeries times remoteSteps samples are written and queried.
	remoteSeries = 5000
	remoteSteps  = 240
	// perRequest is how many series a request has.
	perRequest = 1000
	// noise is what the figures of two runs may differ by: 10 %.
	noise = 1.1
)

// benchRemote writes the same samples to ours and to Debian's Prometheus and
// asks both the same queries.
func benchRemote() ([]result, error) {
	dir, err := os.MkdirTemp("", "binnacle-bench-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return nil, err
	}
	prom, promAddr, err := launchPrometheus(dir, config)
	if err != nil {
		return nil, err
	}
	defer prom.close()
	oursAddr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ours, err := launch("http://"+oursAddr+"/-/ready", "build/binnacle", "server", "--listen", oursAddr,
		"--data-dir", filepath.Join(dir, "binnacle"), "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	defer ours.close()

	before := [2]float64{ours.cpu(), prom.cpu()}
	end := time.Now()
	for step := range remoteSteps {
		at := end.Add(time.Duration(step-remoteSteps) * 15 * time.Second)
		for first := 0; first < remoteSeries; first += perRequest {
			body, err := request(first, at, step)
			if err != nil {
				return nil, err
			}
			for _, addr := range []string{oursAddr, promAddr} {
				if err := send(addr, body); err != nil {
					return nil, err
				}
			}
		}
	}
	ingested := [2]float64{ours.cpu() - before[0], prom.cpu() - before[1]}

	before = [2]float64{ours.cpu(), prom.cpu()}
	for range 10 {
		for _, expr := range []string{
			"sum by (pod) (rate(bench_seconds_total[5m]))",
			"topk(10, avg_over_time(bench_seconds_total[10m]))",
			`quantile(0.9, bench_seconds_total{container=~"c[0-4]"})`,
		} {
			for _, addr := range []string{oursAddr, promAddr} {
				if err := ask(addr, expr, end); err != nil {
					return nil, err
				}
			}
		}
	}
	queried := [2]float64{ours.cpu() - before[0], prom.cpu() - before[1]}
	return []result{
		versus(fmt.Sprintf("remote write, %d samples", remoteSeries*remoteSteps), "CPU-s", ingested[0], ingested[1], "Debian's Prometheus", noise),
		versus("PromQL over one hour of them", "CPU-s", queried[0], queried[1], "Debian's Prometheus", noise),
	}, nil
}

// request is a remote-write 1.0 body with one sample of each of perRequest
// series.
func request(first int, at time.Time, step int) ([]byte, error) {
	req := &prompb.WriteRequest{}
	for i := first; i < first+perRequest; i++ {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels: []prompb.Label{
				{Name: "__name__", Value: "bench_seconds_total"},
				{Name: "container", Value: fmt.Sprintf("c%d", i%10)},
				{Name: "namespace", Value: fmt.Sprintf("namespace-%d", i%20)},
				{Name: "pod", Value: fmt.Sprintf("pod-%d-%x", i/10, i/10*7919)},
			},
			Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: float64(step*i) * 0.37}},
		})
	}
	raw, err := req.Marshal()
	return snappy.Encode(nil, raw), err
}

func send(addr string, body []byte) error {
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/api/v1/write", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	return drain(http.DefaultClient.Do(req))
}

// ask evaluates a range query over the hour before end.
func ask(addr, expr string, end time.Time) error {
	params := url.Values{
		"query": {expr}, "start": {fmt.Sprint(end.Add(-time.Hour).Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {"30"},
	}
	return drain(http.Get("http://" + addr + "/api/v1/query_range?" + params.Encode()))
}

// drain reads the answer to its end and turns a status of failure into an
// error.
func drain(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s: %s", resp.Request.URL.Path, resp.Status, body)
	}
	return err
}
