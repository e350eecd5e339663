package alert

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const limit = 30 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, limit, 10*time.Millisecond, what)
}

// alertmanagerFake keeps what is posted to /prefix/api/v2/alerts.
type alertmanagerFake struct {
	*httptest.Server

	mu     sync.Mutex
	alerts []posted
}

type posted struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`

	user, password string
}

func newFake(t *testing.T) *alertmanagerFake {
	t.Helper()
	f := &alertmanagerFake{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /prefix/api/v2/alerts", func(_ http.ResponseWriter, r *http.Request) {
		var alerts []posted
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			t.Error(err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, a := range alerts {
			a.user, a.password, _ = r.BasicAuth()
			f.alerts = append(f.alerts, a)
		}
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// find returns the newest alert that meets cond.
func (f *alertmanagerFake) find(cond func(posted) bool) (posted, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range slices.Backward(f.alerts) {
		if cond(a) {
			return a, true
		}
	}
	return posted{}, false
}

func firing(a posted) bool   { return a.EndsAt.After(time.Now()) }
func resolved(a posted) bool { return !firing(a) }

// fixture is a Manager over a store of its own.
type fixture struct {
	*Manager

	store *teststorage.TestStorage
	dir   string
	stop  func()
}

func newFixture(t *testing.T, rules string, change func(*Options)) *fixture {
	t.Helper()
	store := teststorage.New(t)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000, Timeout: 10 * time.Second, LookbackDelta: time.Minute, Parser: ruleParser})
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	f := &fixture{store: store, dir: t.TempDir()}
	f.write(t, rules)
	o := Options{
		RuleGlobs: []string{filepath.Join(f.dir, "*.yml")},
		Config: func() config.Config {
			cfg := config.DefaultConfig
			cfg.GlobalConfig.EvaluationInterval = model.Duration(50 * time.Millisecond)
			cfg.GlobalConfig.ExternalLabels = labels.FromStrings("cluster", "c1")
			return cfg
		},
		ExternalURL: &url.URL{Scheme: "https", Host: "binnacle.test"},
		Engine:      engine, Queryable: store, Appendable: store,
	}
	if change != nil {
		change(&o)
	}
	m, err := New(o)
	require.NoError(t, err)
	f.Manager = m
	return f
}

func (f *fixture) write(t *testing.T, rules string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "rules.yml"), []byte(rules), 0o600))
}

func (f *fixture) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(f.stop)
	eventually(t, "the rules are in force", func() bool { return len(f.RuleGroups()) > 0 })
}

func (f *fixture) set(t *testing.T, v float64) {
	t.Helper()
	app := f.store.Appender(context.Background())
	_, err := app.Append(0, labels.FromStrings("__name__", "load", "node", "n1"), time.Now().UnixMilli(), v)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
}

const busyRule = `groups:
- name: load
  rules:
  - record: load:double
    expr: load * 2
  - alert: Busy
    expr: load:double > 10
    labels: {severity: page}
    annotations: {summary: "{{ $labels.node }} of {{ $externalLabels.cluster }} has {{ $value }}"}
`

func TestAlertFiresAndResolves(t *testing.T) {
	t.Parallel()
	am := newFake(t)
	target, err := url.Parse(am.URL)
	require.NoError(t, err)
	target.Path, target.User = "/prefix", url.UserPassword("user", "secret")
	f := newFixture(t, busyRule, func(o *Options) { o.Alertmanagers = []string{target.String()} })
	f.set(t, 8)
	f.run(t)

	var got posted
	eventually(t, "the alert arrives", func() (ok bool) {
		got, ok = am.find(firing)
		return ok
	})
	require.Equal(t, map[string]string{"alertname": "Busy", "node": "n1", "severity": "page", "cluster": "c1"}, got.Labels)
	require.Equal(t, map[string]string{"summary": "n1 of c1 has 16"}, got.Annotations)
	require.Contains(t, got.GeneratorURL, "https://binnacle.test/graph?g0.expr=load%3Adouble")
	require.Equal(t, "user:secret", got.user+":"+got.password)
	require.Equal(t, "http://"+target.Host+"/prefix/api/v2/alerts", f.Alertmanagers()[0].String())
	require.Len(t, f.AlertingRules()[0].ActiveAlerts(), 1)

	f.set(t, 1)
	eventually(t, "its end arrives", func() bool {
		_, ok := am.find(resolved)
		return ok
	})
}

func TestStopWaitsForNotificationUnderWay(t *testing.T) {
	t.Parallel()
	release, arrived, served := make(chan struct{}), make(chan struct{}, 100), make(chan error, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-release
		served <- r.Context().Err()
	}))
	t.Cleanup(srv.Close)
	f := newFixture(t, busyRule, func(o *Options) { o.Alertmanagers = []string{srv.URL} })
	f.set(t, 8)
	f.run(t)
	<-arrived
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.stop()
	}()
	eventually(t, "it is stopping", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !f.running
	})
	close(release)
	<-stopped
	require.NoError(t, <-served, "the request was not cut off")
}

func TestReload(t *testing.T) {
	t.Parallel()
	f := newFixture(t, busyRule, nil)
	f.set(t, 8)
	f.run(t)
	eventually(t, "the alert is active", func() bool { return len(f.AlertingRules()[0].ActiveAlerts()) == 1 })
	since := f.AlertingRules()[0].ActiveAlerts()[0].ActiveAt

	f.write(t, "groups:\n- name: load\n  rules:\n  - alert: Busy\n    expr: sum(\n")
	err := f.Reload()
	require.ErrorContains(t, err, "rules.yml: 5:11: ")
	require.ErrorContains(t, err, "unclosed left parenthesis")
	require.Len(t, f.AlertingRules(), 1, "the old rules stay")
	require.Equal(t, "load:double > 10", f.AlertingRules()[0].Query().String())

	f.write(t, busyRule+"  - alert: Idle\n    expr: load < 0\n")
	require.NoError(t, f.Reload())
	require.Len(t, f.AlertingRules(), 2)
	for _, rule := range f.AlertingRules() {
		if rule.Name() == "Busy" {
			require.Equal(t, since, rule.ActiveAlerts()[0].ActiveAt, "the alert goes on")
		}
	}
	f.stop()
	require.NoError(t, f.Reload(), "a stopped manager only checks")
}

func TestRunFailsForRulesThatBrokeMeanwhile(t *testing.T) {
	t.Parallel()
	f := newFixture(t, busyRule, nil)
	f.write(t, "groups: 1")
	require.ErrorContains(t, f.Run(context.Background()), "rules.yml")
}

func TestHangingAlertmanagerDoesNotBlockStop(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	arrived := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	f := newFixture(t, busyRule, func(o *Options) { o.Alertmanagers = []string{srv.URL} })
	f.set(t, 8)
	f.run(t)
	<-arrived
	f.stop()
	require.ErrorIs(t, f.sendCtx.Err(), context.Canceled)
}

func TestValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	http := write("http.yml", "basic_auth: {username: a, password: b}")
	for _, tc := range []struct {
		name string
		o    Options
		want []string
	}{
		{"bad pattern", Options{RuleGlobs: []string{"[x"}}, []string{`"[x"`}},
		{
			"faults of two files",
			Options{RuleGlobs: []string{
				write("a.yml", "groups:\n- name: a\n  rulez: []\n"), write("b.yml", "groups:\n- name: b\n  rules:\n  - alert: x\n    expr: 1\n    for: soon\n"),
			}},
			[]string{"a.yml: ", "line 3", "rulez", "b.yml: ", "soon"},
		},
		{"template", Options{RuleGlobs: []string{write("t.yml", "groups:\n- name: a\n  rules:\n  - alert: x\n    expr: 1\n    annotations: {a: '{{ $nothing }}'}\n")}}, []string{"t.yml: ", "undefined variable"}},
		{"no scheme", Options{Alertmanagers: []string{"am:9093"}}, []string{"http://host:9093"}},
		{"other scheme", Options{Alertmanagers: []string{"ftp://am:9093"}}, []string{`"ftp://am:9093"`}},
		{"query", Options{Alertmanagers: []string{"http://am:9093?a=b"}}, []string{"http://host:9093"}},
		{"control character", Options{Alertmanagers: []string{"http://u:secret@am\x01"}}, []string{"control character"}},
		{"two credentials", Options{Alertmanagers: []string{"http://u:secret@am"}, HTTPConfigFile: http}, []string{"http://u:xxxxx@am", "leave one out"}},
		{"no HTTP configuration", Options{HTTPConfigFile: filepath.Join(dir, "none.yml")}, []string{"none.yml"}},
		{"broken HTTP configuration", Options{HTTPConfigFile: write("broken.yml", "basic_aut: {}")}, []string{"broken.yml", "basic_aut"}},
		{"certificate", Options{Alertmanagers: []string{"https://am"}, HTTPConfigFile: write("tls.yml", "tls_config: {ca_file: none.pem}")}, []string{"none.pem", "https://am"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.o.Validate()
			require.Error(t, err)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "secret")
		})
	}
	require.NoError(t, Options{RuleGlobs: []string{filepath.Join(dir, "none*.yml")}}.Validate(), "a pattern may match nothing")
	require.ErrorIs(t, Options{RuleGlobs: []string{filepath.Join(dir, "none.yml")}}.Validate(), os.ErrNotExist, "a name may not")
}

func TestNewRefusesIncompleteOptions(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorContains(t, err, "Engine")
}
