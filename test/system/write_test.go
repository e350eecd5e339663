//go:build system

package system

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// remoteWrite sends one sample a series by remote write 1.0 and returns the
// status.
func remoteWrite(addr, name string, seriesCount int, at time.Time, value float64) (int, error) {
	req := &prompb.WriteRequest{}
	for i := range seriesCount {
		req.Timeseries = append(req.Timeseries, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: name}, {Name: "n", Value: fmt.Sprint(i)}},
			Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: value}},
		})
	}
	raw, err := req.Marshal()
	if err != nil {
		return 0, err
	}
	return post(addr, snappy.Encode(nil, raw))
}

// post sends a body to the remote-write endpoint.
func post(addr string, body []byte) (int, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+addr+"/api/v1/write", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}
