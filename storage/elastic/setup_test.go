package elastic

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	good := Options{URLs: []string{"http://es:9200"}}
	one, minus := 1, -1
	for _, c := range []struct {
		name   string
		change func(*Options)
		err    string
	}{
		{"least", func(*Options) {}, ""},
		{"cloud", func(o *Options) { o.URLs, o.CloudID = nil, "x:eXk" }, ""},
		{"replicas", func(o *Options) { o.Replicas = &one }, ""},
		{"no address", func(o *Options) { o.URLs = nil }, "either URLs or a cloud ID"},
		{"two addresses", func(o *Options) { o.CloudID = "x" }, "either URLs or a cloud ID"},
		{"password in URL", func(o *Options) { o.URLs = []string{"http://u:secret@es"} }, "must not hold a user"},
		{"bad URL", func(o *Options) { o.URLs = []string{"http://%secret"} }, "cannot parse a URL"},
		{"no scheme", func(o *Options) { o.URLs = []string{"es:9200"} }, "should look like"},
		{"user without password", func(o *Options) { o.Username = "u" }, "password file"},
		{"user and key", func(o *Options) { o.Username, o.APIKeyFile = "u", "f" }, "not both"},
		{"certificate without key", func(o *Options) { o.CertFile = "f" }, "key file"},
		{"index", func(o *Options) { o.Index = "Logs*" }, `"Logs*"`},
		{"negative replicas", func(o *Options) { o.Replicas = &minus }, "replicas"},
		{"negative shards", func(o *Options) { o.Shards = -1 }, "must not be negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good
			c.change(&o)
			_, err := o.withDefaults()
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestExpired(t *testing.T) {
	now := time.Now()
	var indices []index
	for _, age := range []int{50, 40, 30, 20, 10} {
		indices = append(indices, index{created: now.Add(-time.Duration(age) * time.Hour)})
	}
	for hours, want := range map[int]int{100: 0, 39: 1, 25: 2, 15: 3, 1: 4} {
		require.Len(t, expired(indices, now, time.Duration(hours)*time.Hour), want, "%d hours", hours)
	}
	require.Empty(t, expired(indices[:1], now, 0), "the index that is being written stays")
	require.Empty(t, expired(nil, now, 0))
}

// The managers that no test server has: what is asked of them.
func TestLifecycles(t *testing.T) {
	for _, c := range []struct {
		name  string
		has   map[string]string // answers to what is asked
		want  lifecycle
		sends string
		body  string
	}{
		{"data stream", map[string]string{"GET /_data_stream/logs/_lifecycle": `{}`}, lifecycleStream, "PUT /_index_template/binnacle-logs ", `"lifecycle":{"data_retention":"604800000ms","enabled":true}`},
		{"ilm", map[string]string{"GET /_ilm/status": `{}`, "PUT /_ilm/policy/binnacle-logs": `{}`, "PUT /_ilm/policy/binnacle-dead-letters-logs": `{}`}, lifecycleILM, "PUT /_ilm/policy/binnacle-logs ", `"delete":{"actions":{"delete":{}},"min_age":"604800000ms"}`},
		{"ism", map[string]string{"GET /_plugins/_ism/policies": `{}`, "PUT /_plugins/_ism/policies/binnacle-logs": `{}`, "PUT /_plugins/_ism/policies/binnacle-dead-letters-logs": `{}`}, lifecycleISM, "PUT /_plugins/_ism/policies/binnacle-logs ", `"min_rollover_age":"604800000ms"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			for _, path := range []string{"GET /_data_stream/logs/_lifecycle", "GET /_ilm/status", "GET /_plugins/_ism/policies"} {
				f.on(path, 400, `{"error":"no handler found"}`)
			}
			for what, answer := range c.has {
				f.on(what, 200, answer)
			}
			st, err := f.open(t, nil).ready(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.want, st.caps.Lifecycle)
			sent := f.sent(c.sends)
			require.Len(t, sent, 1)
			require.Contains(t, sent[0], c.body)
		})
	}
}

// A failure of the server is no answer to what it can do.
func TestSetUpIsTriedAgain(t *testing.T) {
	f := newFake(t)
	f.on("POST /_index_template/_simulate", 503, `{}`)
	s := f.open(t, nil)
	require.ErrorContains(t, s.Write(t.Context(), fresh(1)), "what it can do")
	f.on("POST /_index_template/_simulate", 200, `{}`)
	f.on("POST /logs/_bulk", 200, `{"errors":false}`)
	require.NoError(t, s.Write(t.Context(), fresh(1)))
}

// What another process found is taken over, until the version changes.
func TestProbedOnce(t *testing.T) {
	f := newFake(t)
	f.on("GET /_index_template/binnacle-logs", 200,
		`{"index_templates":[{"index_template":{"_meta":{"binnacle":{"schema":1,"server":"1.2.3","capabilities":{"data_streams":true,"flat":"flattened","lifecycle":"binnacle"}}}}}]}`)
	s := f.open(t, nil)
	st, err := s.ready(t.Context())
	require.NoError(t, err)
	require.Empty(t, f.sent("POST /_index_template/_simulate"))
	require.Equal(t, "flattened", st.caps.Flat)

	f.on("/_nodes/_local", 200, `{"nodes":{"a":{"version":"1.3.0"}}}`)
	require.NoError(t, s.noticeUpgrade(t.Context()))
	require.NotEmpty(t, f.sent("POST /_index_template/_simulate"))
	require.Equal(t, "1.3.0", s.state.Load().version)
	require.True(t, s.state.Load().caps.Wildcard)
}

func TestForeignIndex(t *testing.T) {
	f := newFake(t)
	f.on("GET /logs/_settings/index.creation_date", 200, `{"logs":{"settings":{"index":{"creation_date":"1"}}}}`)
	_, err := f.open(t, nil).ready(t.Context())
	require.ErrorContains(t, err, "not of binnacle's making")
}

func TestOpenSearchNeedsItsOption(t *testing.T) {
	f := newFake(t)
	handler := f.Config.Handler
	f.Config.Handler = withoutProduct{handler}
	_, err := f.open(t, nil).ready(t.Context())
	require.ErrorContains(t, err, "not Elasticsearch")
	_, err = f.open(t, func(o *Options) { o.OpenSearch = true }).ready(t.Context())
	require.NoError(t, err)
}

func TestCredentialsAreReadAgain(t *testing.T) {
	f := newFake(t)
	seen := make(chan string, 10)
	f.Config.Handler = headerSpy{f.Config.Handler, seen}
	file := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(file, []byte("first\n"), 0o600))
	s := f.open(t, func(o *Options) { o.APIKeyFile = file })
	_, err := s.client.serverVersion(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ApiKey first", <-seen)
	require.NoError(t, os.WriteFile(file, []byte("second"), 0o600))
	_, err = s.client.serverVersion(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ApiKey second", <-seen)
}

func TestTemplatesAreValidJSON(t *testing.T) {
	s := newFake(t).open(t, nil)
	for _, l := range lifecycles {
		for _, streams := range []bool{true, false} {
			text, err := json.Marshal(s.templateBody(s.targets[0], capabilities{DataStreams: streams, Lifecycle: l}, templateMeta{}))
			require.NoError(t, err)
			require.Equal(t, !streams, strings.Contains(string(text), `"index_patterns":["logs-0*"]`))
		}
	}
}
