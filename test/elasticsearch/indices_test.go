//go:build system

package elasticsearch

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/storage/elastic"
)

// sameIndex are the options of another process for the index of o.
func (s *Server) sameIndex(o elastic.Options) elastic.Options {
	o.Registerer = prometheus.NewRegistry()
	return o
}

// generations lists the indices of a data stream or alias.
func (s *Server) generations(t *testing.T, index string) []string {
	t.Helper()
	var settings map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(s.Call(t, http.MethodGet, "/"+index+"/_settings", ""), &settings))
	var names []string
	for name := range settings {
		names = append(names, name)
	}
	return names
}

// retention: old indices are deleted, and only those.
func (s *Server) retention(t *testing.T) {
	o := s.options()
	o.Retention, o.RolloverAge = 4*time.Second, time.Second
	store := open(t, o)
	l := newLedger(1, 10, time.Now())
	require.NoError(t, store.Write(t.Context(), l.records[0]))
	first := s.generations(t, o.Index)
	require.Len(t, first, 1)
	l.requireExact(t, store)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	require.Eventually(t, func() bool {
		return !slices.Contains(s.generations(t, o.Index), first[0])
	}, time.Minute, 100*time.Millisecond, "the first index is still there")
	cancel()
	require.NoError(t, <-ended)
	records := 0
	infos, err := store.Streams(t.Context(), nil, 0, time.Now().Add(time.Hour).UnixNano())
	require.NoError(t, err)
	for _, i := range infos {
		records += int(i.Records)
	}
	require.Zero(t, records, "the records are gone with their index")
	require.NoError(t, store.Write(t.Context(), newLedger(1, 5, time.Now()).records[0][:1]), "writing goes on")
}

// manySetUp: a cluster's agents start at the same time.
func (s *Server) manySetUp(t *testing.T) {
	o := s.options()
	l := newLedger(8, 50, time.Now())
	errs := make([]error, l.sources)
	var wg sync.WaitGroup
	for i := range l.sources {
		store := open(t, s.sameIndex(o))
		wg.Go(func() { errs[i] = store.Write(t.Context(), l.records[i]) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	l.requireExact(t, open(t, s.sameIndex(o)))
	require.Len(t, s.generations(t, o.Index), 1)
}

// templateChanged: another set-up, as by a server that was upgraded and can do
// more, changes the template and begins a new index; what was there is found.
func (s *Server) templateChanged(t *testing.T) {
	o := s.options()
	l := newLedger(2, 50, time.Now())
	before := open(t, o)
	require.NoError(t, before.Write(t.Context(), l.records[0]))
	template := "/_index_template/binnacle-" + o.Index

	// What is kept of the server says that it was another one.
	var stored struct {
		IndexTemplates []struct {
			IndexTemplate map[string]json.RawMessage `json:"index_template"`
		} `json:"index_templates"`
	}
	require.NoError(t, json.Unmarshal(s.Call(t, http.MethodGet, template, ""), &stored))
	body := stored.IndexTemplates[0].IndexTemplate
	body["_meta"] = json.RawMessage(`{"binnacle":{"schema":1,"server":"1.0.0","options":"x","capabilities":{"data_streams":true,"flat":"","lifecycle":"binnacle"}}}`)
	for name := range body { // of the server's own making
		if strings.HasPrefix(name, "created_date") || strings.HasPrefix(name, "modified_date") {
			delete(body, name)
		}
	}
	text, err := json.Marshal(body)
	require.NoError(t, err)
	s.Call(t, http.MethodPut, template, string(text))

	after := open(t, s.sameIndex(o))
	require.NoError(t, after.Write(t.Context(), l.records[1]))
	l.requireExact(t, after)
	require.Len(t, s.generations(t, o.Index), 2)
	answer := string(s.Call(t, http.MethodGet, template, ""))
	require.Contains(t, answer, s.Version)
	require.False(t, strings.Contains(answer, "1.0.0"))

	// Nothing is left to change.
	again := open(t, s.sameIndex(o))
	require.NoError(t, again.Write(t.Context(), l.records[0]))
	require.Len(t, s.generations(t, o.Index), 2)
	l.requireExact(t, again)
}
