package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
)

const (
	goodRules  = "groups:\n- name: a\n  interval: 100ms\n  rules:\n  - record: one\n    expr: vector(1)\n"
	otherRules = "groups:\n- name: a\n  interval: 100ms\n  rules:\n  - record: two\n    expr: vector(2)\n"
)

// configured is a Server with rules and a scraped target.
func configured(t *testing.T) (r *running, rules, scrapes string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "app_requests_total", Help: "Requests served."})
	reg.MustRegister(c)
	c.(prometheus.ExemplarAdder).AddWithExemplar(1, prometheus.Labels{"trace_id": "abc"})
	target := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	t.Cleanup(target.Close)
	dir := t.TempDir()
	rules, scrapes = filepath.Join(dir, "rules.yml"), filepath.Join(dir, "prometheus.yml")
	write(t, rules, goodRules)
	write(t, scrapes, fmt.Sprintf(`
global: {scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {cluster: c1, zone: z1}}
scrape_configs:
- job_name: app
  static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(target.URL, "http://")))
	return start(t, Options{
		RuleGlobs: []string{rules}, ScrapeConfigFile: scrapes, EnableReloadAPI: true,
		ExternalLabels: map[string]string{"zone": "z2"},
	}), rules, scrapes
}

func write(t *testing.T, file, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
}

func (r *running) reload(t *testing.T) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.httpServer.URL+"/-/reload", nil)
	require.NoError(t, err)
	return do(t, req)
}

func TestScrapedMetricsAreServed(t *testing.T) {
	t.Parallel()
	r, _, _ := configured(t)
	eventually(t, "the target is scraped", func() bool { return len(r.query(t, `up{job="app"} == 1`)) == 1 })
	eventually(t, "its metrics are stored", func() bool { return len(r.query(t, "app_requests_total == 1")) == 1 })
	_, body := r.get(t, "/api/v1/targets")
	require.Contains(t, body, `"scrapePool":"app"`)
	_, body = r.get(t, "/api/v1/metadata?metric=app_requests")
	require.Contains(t, body, "Requests served.")
	_, body = r.get(t, "/api/v1/query_exemplars?query=app_requests_total&start=0&end=9999999999")
	require.Contains(t, body, `"trace_id":"abc"`)
	_, body = r.get(t, "/federate?match[]=app_requests_total")
	require.Contains(t, body, `cluster="c1",zone="z2"`)
}

func TestReload(t *testing.T) {
	t.Parallel()
	r, rules, scrapes := configured(t)
	eventually(t, "the first rule is evaluated", func() bool { return len(r.query(t, "one")) == 1 })

	// Either file may be broken: nothing of the other is put in force.
	write(t, rules, "groups:\n- name: a\n  rules:\n  - record: two\n    expr: sum(\n")
	code, body := r.reload(t)
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, body, "The configuration in force was kept")
	require.Contains(t, body, "rules.yml: 5:11:")
	_, body = r.get(t, "/api/v1/status/runtimeinfo")
	require.Contains(t, body, `"reloadConfigSuccess":false`)
	_, body = r.get(t, "/api/v1/notifications")
	require.Contains(t, body, "Configuration reload has failed")

	write(t, rules, otherRules)
	good, err := os.ReadFile(scrapes)
	require.NoError(t, err)
	write(t, scrapes, "scrape_configs: 1")
	code, body = r.reload(t)
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, body, "prometheus.yml")
	_, body = r.get(t, "/metrics")
	require.Contains(t, body, "binnacle_config_last_reload_successful 0")
	_, body = r.get(t, "/api/v1/rules")
	require.Contains(t, body, `"name":"one"`)

	write(t, scrapes, string(good))
	code, body = r.reload(t)
	require.Equal(t, http.StatusOK, code, body)
	eventually(t, "the other rule is evaluated", func() bool { return len(r.query(t, "two")) == 1 })
	_, body = r.get(t, "/metrics")
	require.Contains(t, body, "binnacle_config_last_reload_successful 1")
	_, body = r.get(t, "/api/v1/notifications")
	require.NotContains(t, body, "Configuration reload has failed")
}

func TestReloadOverHTTPIsOffByDefault(t *testing.T) {
	t.Parallel()
	r := build(t, Options{})
	code, body := r.reload(t)
	require.Equal(t, http.StatusForbidden, code)
	require.Contains(t, body, "SIGHUP")
}

func TestReloadBeforeRunTakesEffect(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "rules.yml")
	write(t, rules, goodRules)
	r := build(t, Options{RuleGlobs: []string{rules}})
	write(t, rules, otherRules)
	require.NoError(t, r.Reload())
	r.run(t)
	<-r.Ready()
	eventually(t, "the other rule is evaluated", func() bool { return len(r.query(t, "two")) == 1 })
}
