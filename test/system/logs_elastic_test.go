//go:build system

package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/binnacle-obs/binnacle/test/ledger"
)

// searchEngine is a real Elasticsearch.
type searchEngine struct {
	version, dir, addr string
	settings           []string
	process            *process
}

// newSearchEngine starts a server with an empty folder and waits until it
// answers.
func newSearchEngine(t testing.TB, version string, settings ...string) *searchEngine {
	t.Helper()
	s := &searchEngine{version: version, dir: t.TempDir(), addr: address(t), settings: settings}
	s.start(t)
	return s
}

func (s *searchEngine) start(t testing.TB) {
	t.Helper()
	_, port, _ := strings.Cut(s.addr, ":")
	s.process = start(t, nil, "bash", append([]string{"../elasticsearch/up.sh", "elasticsearch", s.version, s.dir, port}, s.settings...)...)
	s.process.awaitReady(t, s.url()+"/_cluster/health?wait_for_status=yellow&timeout=30s")
}

func (s *searchEngine) url() string { return "http://" + s.addr }

// ask sends a request with a JSON body and decodes the answer.
func (s *searchEngine) ask(method, path, body string, answer any) error {
	req, err := http.NewRequest(method, s.url()+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, tail(string(b)))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

// count is how many documents an index has; 0 while it does not answer.
func (s *searchEngine) count(index string) int {
	var a struct{ Count int }
	if err := errors.Join(s.ask("POST", "/"+index+"/_refresh", "", nil), s.ask("GET", "/"+index+"/_count", "", &a)); err != nil {
		return 0
	}
	return a.Count
}

// document is what these tests read of a stored record.
type document struct {
	Time       time.Time `json:"@timestamp"`
	Message    string    `json:"message"`
	Stream     string    `json:"stream"`
	Kubernetes struct {
		Namespace string
		Pod       struct{ Name, UID string }
		Container struct{ Name string }
	}
	Orchestrator struct{ Cluster struct{ Name string } }
	Labels       map[string]string
	Log          struct{ Offset int64 }
	Binnacle     struct{ Source string }
}

func (d *document) record() ledger.Record {
	k := &d.Kubernetes
	return ledger.Record{Time: d.Time.UnixNano(), Line: []byte(d.Message), Labels: map[string]string{
		"namespace": k.Namespace, "pod": k.Pod.Name, "uid": k.Pod.UID, "container": k.Container.Name,
		"cluster": d.Orchestrator.Cluster.Name, "stream": d.Stream, "restart": d.Labels["restart"],
	}}
}

// documents reads all that an index, all its generations and nothing else
// than the server itself say of it: what is stored twice is seen twice.
func (s *searchEngine) documents(index string) ([]document, error) {
	type page struct {
		Scroll string `json:"_scroll_id"`
		Hits   struct {
			Hits []struct {
				Source document `json:"_source"`
			}
		}
	}
	var p page
	if err := s.ask("POST", "/"+index+"/_refresh", "", nil); err != nil {
		return nil, err
	}
	err := s.ask("POST", "/"+index+"/_search?scroll=1m", `{"size":5000,"sort":["_doc"]}`, &p)
	var all []document
	for err == nil && len(p.Hits.Hits) > 0 {
		for i := range p.Hits.Hits {
			all = append(all, p.Hits.Hits[i].Source)
		}
		next := page{}
		err = s.ask("POST", "/_search/scroll", `{"scroll":"1m","scroll_id":"`+p.Scroll+`"}`, &next)
		p = next
	}
	slices.SortFunc(all, func(a, b document) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return int(a.Log.Offset - b.Log.Offset)
	})
	return all, err
}

// check waits for all entries of a fleet in an index and compares every one.
func (s *searchEngine) check(t testing.TB, f *fleet, index string) {
	t.Helper()
	settle(t, f.entries(), func() int { return s.count(index) })
	all, err := s.documents(index)
	checker := ledger.NewChecker(f.accounts())
	for i := range all {
		checker.Add(all[i].record())
	}
	report := checker.Report()
	t.Logf("%d documents of %d entries in %s", report.Records, report.Expected, index)
	if err := errors.Join(err, report.Err()); err != nil {
		t.Error(err)
	}
	var dead struct{ Count int }
	if err := s.ask("GET", "/dead-letters-*/_count", "", &dead); err != nil || dead.Count > 0 {
		t.Errorf("%d dead letters, %v", dead.Count, err)
	}
}

// newElasticPipeline starts a server with the embedded store and makes the
// arguments of an agent that sends to it and to Elasticsearch.
func newElasticPipeline(t testing.TB, root, url, index string) *pipeline {
	t.Helper()
	p := newPipeline(t, root)
	p.agentArgs = append(p.agentArgs, "--elasticsearch", url, "--elasticsearch-index", index)
	p.startServer(t)
	return p
}

// elasticPace is as fast as one small node can follow for the length of a test.
var elasticPace = pace{50, 400 * time.Millisecond}

// TestLogsElasticsearch is TestLogsLedger over real servers. Their documents are
// read from themselves, past the program's own search.
func TestLogsElasticsearch(t *testing.T) {
	s := newSearchEngine(t, "8.19.21")
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *searchEngine)
	}{
		{"agent", elasticDirect},
		{"agent and server", elasticServer},
		{"kill the agent", elasticKillAgent},
		{"a tenth of items rejected", elasticRejected},
		{"connections cut", elasticCut},
		{"rollover between cut and retry", elasticRollover},
		{"grep", elasticGrep},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
	t.Run("killed and stopped", elasticOutage)
	t.Run("real 429 and 413", elasticBusy)
}

func elasticDirect(t *testing.T, s *searchEngine) {
	f := newFleet(t, 20)
	f.writeFor(time.Second, elasticPace)
	p := newElasticPipeline(t, f.root, s.url(), "logs-direct-default")
	p.startAgent(t)
	f.writeFor(4*time.Second, elasticPace)
	s.check(t, f, "logs-direct-default")
	f.check(t, p.server)
}

func elasticServer(t *testing.T, s *searchEngine) {
	const index = "logs-server-default"
	f := newFleet(t, 20)
	p := newPipeline(t, f.root)
	p.serverArgs = append(p.serverArgs, "--logs-store", "elasticsearch", "--elasticsearch", s.url(), "--elasticsearch-index", index)
	server := p.startServer(t)
	p.startAgent(t)
	for range 5 { // killed between a batch and its acknowledgement
		f.writeFor(500*time.Millisecond, elasticPace)
		server.stop(t, syscall.SIGKILL)
		server = p.startServer(t)
	}
	f.writeFor(2*time.Second, elasticPace)
	s.check(t, f, index)
	f.check(t, p.server)
}

func elasticKillAgent(t *testing.T, s *searchEngine) {
	f := newFleet(t, 20)
	p := newElasticPipeline(t, f.root, s.url(), "logs-kill-default")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.write(ctx, pace{40, 1500 * time.Millisecond})
	f.rotate(ctx, 5*time.Second, 1000)
	killed(t, p.agent, p.agentArgs)
	p.startAgent(t)
	cancel()
	f.wg.Wait()
	s.check(t, f, "logs-kill-default")
	f.check(t, p.server)
}

func elasticRejected(t *testing.T, s *searchEngine) {
	f := newFleet(t, 20)
	proxy := newBulkProxy(t, s.url())
	proxy.rejectEvery = 10
	newElasticPipeline(t, f.root, proxy.URL, "logs-rejected-default").startAgent(t)
	f.writeFor(4*time.Second, elasticPace)
	s.check(t, f, "logs-rejected-default")
	t.Log(proxy.counts())
	if proxy.rejected < f.entries()/20 {
		t.Errorf("only %d items were rejected", proxy.rejected)
	}
}

func elasticCut(t *testing.T, s *searchEngine) {
	f := newFleet(t, 20)
	proxy := newBulkProxy(t, s.url())
	proxy.cutEvery = 3
	newElasticPipeline(t, f.root, proxy.URL, "logs-cut-default").startAgent(t)
	f.writeFor(4*time.Second, elasticPace)
	s.check(t, f, "logs-cut-default")
	t.Log(proxy.counts())
	if proxy.cuts == 0 {
		t.Error("no connection was cut")
	}
}

// elasticRollover begins a new generation of the index after each cut, so that
// a batch is sent again when its first copy is in another one.
func elasticRollover(t *testing.T, s *searchEngine) {
	const index = "logs-rollover-default"
	f := newFleet(t, 20)
	proxy := newBulkProxy(t, s.url())
	proxy.cutEvery = 4
	var rollovers atomic.Int64
	proxy.beforeCut = func() {
		if err := s.ask("POST", "/"+index+"/_rollover", "", nil); err != nil {
			t.Errorf("rollover: %v", err)
		}
		rollovers.Add(1)
	}
	p := newElasticPipeline(t, f.root, proxy.URL, index)
	agent := p.startAgent(t)
	f.writeFor(3*time.Second, elasticPace)
	// The agent itself is killed, too, and has to do without its memory of
	// what was uncertain.
	agent.stop(t, syscall.SIGKILL)
	if err := s.ask("POST", "/"+index+"/_rollover", "", nil); err != nil {
		t.Error(err)
	}
	p.startAgent(t)
	f.writeFor(2*time.Second, elasticPace)
	s.check(t, f, index)
	t.Logf("%s; %d rollovers", proxy.counts(), rollovers.Load())
	if n := rollovers.Load(); n < 2 {
		t.Errorf("only %d rollovers", n)
	}
}

// elasticGrep compares "binnacle grep" with grep over the files.
func elasticGrep(t *testing.T, s *searchEngine) {
	f := &fleet{t: t, root: t.TempDir()}
	writeCorpus(t, f.root)
	p := newPipeline(t, f.root)
	p.serverArgs = append(p.serverArgs, "--logs-store", "elasticsearch", "--elasticsearch", s.url(), "--elasticsearch-index", "logs-grep-default")
	p.startServer(t)
	p.startAgent(t)
	settle(t, len(grepped)*4000, func() int { return s.count("logs-grep-default") })
	compareGrep(t, p.server, f.root)
}

// elasticOutage kills the server, leaves it down for BINNACLE_TEST_LOGS_OUTAGE
// (5 s), starts it, stops it with notice and starts it again.
func elasticOutage(t *testing.T) {
	const index = "logs-outage-default"
	s := newSearchEngine(t, "9.5.3")
	f := newFleet(t, 20)
	newElasticPipeline(t, f.root, s.url(), index).startAgent(t)
	f.writeFor(2*time.Second, elasticPace)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		ctx, cancel := context.WithCancel(context.Background())
		f.write(ctx, pace{20, time.Second})
		s.process.stop(t, signal)
		time.Sleep(length(t, "BINNACLE_TEST_LOGS_OUTAGE", 5*time.Second))
		s.start(t)
		time.Sleep(time.Second)
		cancel()
		f.wg.Wait()
	}
	s.check(t, f, index)
}

// elasticBusy sends to a server with one thread, a short queue and a limit of
// 1 MB a request while others keep it busy.
func elasticBusy(t *testing.T) {
	const index = "logs-busy-default"
	s := newSearchEngine(t, "9.5.3", "http.max_content_length=1mb", "thread_pool.write.size=1", "thread_pool.write.queue_size=1")
	f := newFleet(t, 20)
	proxy := newBulkProxy(t, s.url())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.writeFor(time.Second, pace{300, 300 * time.Millisecond}) // large batches at first
	for range 16 {
		f.each(ctx, func() error { s.disturb(); return nil })
	}
	newElasticPipeline(t, f.root, proxy.URL, index).startAgent(t)
	time.Sleep(8 * time.Second)
	cancel()
	f.wg.Wait()
	s.check(t, f, index)
	t.Log(proxy.counts())
	if proxy.refusedRequests[http.StatusRequestEntityTooLarge] == 0 {
		t.Error("the server refused no request as too large")
	}
	if proxy.refusedRequests[http.StatusTooManyRequests]+proxy.refusedItems[http.StatusTooManyRequests] == 0 {
		t.Error("the server was never too busy")
	}
}

// disturb sends a bulk request of somebody else; what becomes of it does not
// matter.
func (s *searchEngine) disturb() {
	var b bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&b, "{\"create\":{}}\n{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"message\":\"of somebody else %d\"}\n", i)
	}
	if resp, err := http.Post(s.url()+"/logs-other-default/_bulk", "application/x-ndjson", &b); err == nil {
		resp.Body.Close()
	}
}
