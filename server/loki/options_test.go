package loki

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/binnacle-obs/binnacle/server/guard"
	"github.com/binnacle-obs/binnacle/server/logql"
	"github.com/binnacle-obs/binnacle/storage/storagetest"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := New(Options{})
	require.ErrorContains(t, err, "Store and Evaluator of Options must be set")
	store := storagetest.NewMemory()
	engine, err := logql.New(logql.Options{Store: store})
	require.NoError(t, err)
	for _, change := range []func(*Options){
		func(o *Options) { o.QueryTimeout = -1 }, func(o *Options) { o.MaxTails = -1 }, func(o *Options) { o.MaxLabelValue = -1 },
	} {
		o := Options{Store: store, Evaluator: engine}
		change(&o)
		_, err = New(o)
		require.ErrorContains(t, err, "must not be negative")
	}
	h, err := New(Options{Store: store, Evaluator: engine})
	require.NoError(t, err)
	require.Equal(t, DefaultMaxEntries, h.opts.MaxEntries)
}

func TestMetricsShareARegistry(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	endpoints := guard.NewMetrics(reg) // as server/api has registered them
	store := storagetest.NewMemory()
	engine, err := logql.New(logql.Options{Store: store, Registerer: reg})
	require.NoError(t, err)
	_, err = New(Options{Store: store, Evaluator: engine, Registerer: reg, Endpoints: endpoints})
	require.NoError(t, err)
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}
