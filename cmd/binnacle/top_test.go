package main

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// The series of a cluster of two nodes, as an agent and a scraped kubelet
// leave them, 15 s apart.
const clusterSeries = `
load 15s
  container_cpu_usage_seconds_total{id="/",node="n1",cpu="total",job="cadvisor"} 0+7.5x20
  container_cpu_usage_seconds_total{id="/",node="n2",cpu="total",job="cadvisor"} 0+1.5x20
  container_memory_working_set_bytes{id="/",node="n1",job="cadvisor"} 2147483648x20
  container_memory_working_set_bytes{id="/",node="n2",job="cadvisor"} 1073741824x20
  machine_cpu_cores{node="n1"} 4x20
  machine_cpu_cores{node="n2"} 2x20
  machine_memory_bytes{node="n1"} 8589934592x20
  machine_memory_bytes{node="n2"} 4294967296x20
  node_memory_MemTotal_bytes{instance="n3",job="node-exporter"} 1073741824x20
  node_memory_MemAvailable_bytes{instance="n3",job="node-exporter"} 536870912x20
  node_cpu_seconds_total{instance="n3",job="node-exporter",cpu="0",mode="user"} 0+3x20
  node_cpu_seconds_total{instance="n3",job="node-exporter",cpu="0",mode="idle"} 0+12x20
  container_cpu_usage_seconds_total{id="/kubepods/poda/1",node="n1",namespace="shop",pod="web-0",container="app",cpu="total",job="cadvisor"} 0+3x20
  container_cpu_usage_seconds_total{id="/kubepods/poda/1",node="n1",namespace="shop",pod="web-0",container="app",cpu="total",job="kubelet"} 0+3x20
  container_cpu_usage_seconds_total{id="/kubepods/poda/2",node="n1",namespace="shop",pod="web-0",container="proxy",cpu="total",job="cadvisor"} 0+0.15x20
  container_cpu_usage_seconds_total{id="/kubepods/poda",node="n1",namespace="shop",pod="web-0",container="",cpu="total",job="cadvisor"} 0+3.2x20
  container_cpu_usage_seconds_total{id="/kubepods/poda/0",node="n1",namespace="shop",pod="web-0",container="POD",cpu="total",job="cadvisor"} 0+1x20
  container_memory_working_set_bytes{id="/kubepods/poda/1",node="n1",namespace="shop",pod="web-0",container="app",job="cadvisor"} 104857600x20
  container_memory_working_set_bytes{id="/kubepods/poda/1",node="n1",namespace="shop",pod="web-0",container="app",job="kubelet"} 104857600x20
  container_memory_working_set_bytes{id="/kubepods/poda/2",node="n1",namespace="shop",pod="web-0",container="proxy",job="cadvisor"} 11534336x20
  container_memory_working_set_bytes{id="/kubepods/poda",node="n1",namespace="shop",pod="web-0",container="",job="cadvisor"} 120000000x20
  container_spec_cpu_shares{id="/kubepods/poda/1",node="n1",namespace="shop",pod="web-0",container="app",job="cadvisor"} 512x20
  container_spec_cpu_shares{id="/kubepods/poda/2",node="n1",namespace="shop",pod="web-0",container="proxy",job="cadvisor"} 102x20
  container_spec_memory_limit_bytes{id="/kubepods/poda/1",node="n1",namespace="shop",pod="web-0",container="app",job="cadvisor"} 209715200x20
  container_spec_memory_limit_bytes{id="/kubepods/poda/2",node="n1",namespace="shop",pod="web-0",container="proxy",job="cadvisor"} 0x20
  container_cpu_usage_seconds_total{id="/kubepods/podb/1",node="n2",namespace="ops",pod="cron-1",container="job",cpu="total",job="cadvisor"} 0+15x20
  container_memory_working_set_bytes{id="/kubepods/podb/1",node="n2",namespace="ops",pod="cron-1",container="job",job="cadvisor"} 52428800x20
  container_spec_cpu_shares{id="/kubepods/podb/1",node="n2",namespace="ops",pod="cron-1",container="job",job="cadvisor"} 2x20
  container_spec_memory_limit_bytes{id="/kubepods/podb/1",node="n2",namespace="ops",pod="cron-1",container="job",job="cadvisor"} 104857600x20
  container_cpu_usage_seconds_total{id="/kubepods/podc/1",node="n2",namespace="ops",pod="gone",container="x",cpu="total",job="cadvisor"} 0+15x18 stale
  container_memory_working_set_bytes{id="/kubepods/podc/1",node="n2",namespace="ops",pod="gone",container="x",job="cadvisor"} 1x18 stale
  container_memory_working_set_bytes{id="/kubepods/podd/1",node="n2",namespace="ops",pod="new",container="x",job="cadvisor"} _x19 1048576
`

// The series of a machine without pods.
const machineSeries = `
load 15s
  container_memory_working_set_bytes{id="/",node="m"} 2147483648x20
  container_memory_working_set_bytes{id="/system.slice",node="m"} 300000000x20
  container_memory_working_set_bytes{id="/system.slice/ssh.service",node="m"} 8388608x20
  container_memory_working_set_bytes{id="/system.slice/docker.service",node="m"} 104857600x20
  container_memory_working_set_bytes{id="/system.slice/docker.service/child",node="m"} 1048576x20
  container_memory_working_set_bytes{id="/init.scope",node="m"} 4194304x20
  container_memory_working_set_bytes{id="/docker",node="m"} 10485760x20
  container_memory_working_set_bytes{id="/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",node="m"} 10485760x20
  container_memory_working_set_bytes{id="/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/init",node="m"} 1048576x20
  container_memory_working_set_bytes{id="/batch",node="m"} 2097152x20
  container_memory_working_set_bytes{id="/batch/job7",node="m"} 2097152x20
  container_cpu_usage_seconds_total{id="/system.slice/ssh.service",node="m",cpu="total"} 0+0.0015x20
  container_cpu_usage_seconds_total{id="/system.slice/docker.service",node="m",cpu="total"} 0+3.75x20
  container_cpu_usage_seconds_total{id="/batch/job7",node="m",cpu="total"} 0+7.5x20
  container_spec_cpu_quota{id="/batch/job7",node="m"} 50000x20
  container_spec_cpu_period{id="/batch/job7",node="m"} 100000x20
  container_spec_memory_limit_bytes{id="/batch/job7",node="m"} 4194304x20
`

// newPromQLServer answers instant queries over series with the real engine,
// five minutes after the first sample.
func newPromQLServer(t *testing.T, series string) *fakeAPI {
	t.Helper()
	storage := promqltest.LoadedStorage(t, series)
	t.Cleanup(func() { _ = storage.Close() })
	return newEngineAPI(t, storage)
}

func newEngineAPI(t *testing.T, storage *teststorage.TestStorage) *fakeAPI {
	t.Helper()
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	return newFakeAPI(t, func(r request) (int, string) {
		query, err := engine.NewInstantQuery(t.Context(), storage, nil, r.query, time.Unix(300, 0))
		if err != nil {
			return http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":` + strconv.Quote(err.Error()) + `}`
		}
		defer query.Close()
		result := query.Exec(t.Context())
		if result.Err != nil {
			return http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":` + strconv.Quote(result.Err.Error()) + `}`
		}
		vector, err := result.Vector()
		if err != nil {
			return http.StatusInternalServerError, err.Error()
		}
		return http.StatusOK, success(vectorJSON(vector))
	})
}

// vectorJSON writes a vector as the API does.
func vectorJSON(vector promql.Vector) string {
	var samples []string
	for _, s := range vector {
		metric, _ := s.Metric.MarshalJSON()
		samples = append(samples, `{"metric":`+string(metric)+`,"value":[300,"`+strconv.FormatFloat(s.F, 'f', -1, 64)+`"]}`)
	}
	return `{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}`
}

func TestTopGolden(t *testing.T) {
	cluster, machine := newPromQLServer(t, clusterSeries), newPromQLServer(t, machineSeries)
	for _, c := range []struct {
		name, args string
		api        *fakeAPI
	}{
		{"node", "node", cluster},
		{"node-by-cpu", "node --sort-by cpu --no-headers", cluster},
		{"node-one", "node n2", cluster},
		{"node-json", "node -o json", cluster},
		{"pod", "pod -n shop", cluster},
		{"pod-all", "pod -A", cluster},
		{"pod-all-by-memory", "pod -A --sort-by memory", cluster},
		{"pod-json", "pod -A -o json", cluster},
		{"pod-other-namespace", "pod", cluster},
		{"pod-unknown", "pod nope -A", cluster},
		{"container", "container -n shop", cluster},
		{"container-all-by-cpu", "container -A --sort-by cpu", cluster},
		{"container-jsonl", "container -n ops -o jsonl", cluster},
		{"machine-node", "node", machine},
		{"machine-pod", "pod", machine},
		{"machine-container", "container", machine},
		{"machine-container-by-cpu", "container --sort-by cpu --since 2m", machine},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := execute(t, options{}, append(strings.Fields("top "+c.args), "--addr", c.api.URL)...)
			requireGolden(t, "top/"+c.name+".txt", got.golden())
			for line := range strings.Lines(got.stdout) {
				require.Equal(t, strings.TrimRight(line, " \n")+"\n", line, "spaces at the end of a line")
			}
		})
	}
}

func TestTopPartial(t *testing.T) {
	api := newFakeAPI(t, func(r request) (int, string) {
		switch {
		case strings.Contains(r.query, "spec_memory_limit"):
			return http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":"too many samples"}`
		case strings.Contains(r.query, "cpu_shares"):
			return http.StatusOK, success(`{"resultType":"vector","result":[]}`)
		default:
			return http.StatusOK, success(`{"resultType":"vector","result":[{"metric":{"namespace":"default","pod":"a"},"value":[1,"1"]}]}`)
		}
	})
	got := execute(t, options{}, "top", "pod", "--addr", api.URL)
	require.Equal(t, exitPartial, got.code)
	require.Contains(t, got.stdout, "a      1000m")
	require.Contains(t, got.stderr, "partial result: too many samples")
}

func TestTopUnknownCPU(t *testing.T) {
	api := newFakeAPI(t, func(r request) (int, string) {
		if strings.Contains(r.query, "cpu") {
			return http.StatusOK, success(`{"resultType":"vector","result":[]}`)
		}
		return http.StatusOK, success(`{"resultType":"vector","result":[{"metric":{"node":"a"},"value":[1,"1048576"]}]}`)
	})
	got := execute(t, options{}, "top", "node", "--addr", api.URL)
	require.Contains(t, got.stdout, "<unknown>    <unknown>   1Mi")
	require.Contains(t, got.stderr, "CPU use needs two readings in 1m: wait a moment, or give a longer --since")
}
