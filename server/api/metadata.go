package api

import (
	"context"
	"errors"
	"maps"
	"net/url"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// metadataKey marks the context of requests for metadata.
type metadataKey struct{}

// withMetadata makes a.targets show the store's metadata as well.
func withMetadata(ctx context.Context) context.Context {
	return context.WithValue(ctx, metadataKey{}, true)
}

// targets is upstream's source of targets. Upstream reads metadata from
// targets only; for requests that ask for metadata the store therefore stands
// in as one more target, without labels. Lists of targets do not show it.
func (a *API) targets(ctx context.Context) v1.TargetRetriever {
	if a.opts.Metadata == nil || ctx.Value(metadataKey{}) == nil {
		return a.opts.Targets
	}
	return storeAsTarget{a.opts.Targets, a.opts.Metadata}
}

type storeAsTarget struct {
	Targets
	metadata Metadata
}

// TargetsActive adds the store to the real targets.
func (s storeAsTarget) TargetsActive() map[string][]*scrape.Target {
	store := scrape.NewTarget(labels.EmptyLabels(), &config.ScrapeConfig{}, nil, nil)
	store.SetMetadataStore(metadataStore{s.metadata})
	all := maps.Clone(s.Targets.TargetsActive())
	if all == nil {
		all = make(map[string][]*scrape.Target, 1)
	}
	// No job has an empty name.
	all[""] = []*scrape.Target{store}
	return all
}

// metadataStore shows Metadata as upstream's scrape cache.
type metadataStore struct{ metadata Metadata }

func (s metadataStore) ListMetadata() []scrape.MetricMetadata {
	all := s.metadata.Metadata()
	list := make([]scrape.MetricMetadata, 0, len(all))
	for name, m := range all {
		list = append(list, scrape.MetricMetadata{MetricFamily: name, Type: m.Type, Help: m.Help, Unit: m.Unit})
	}
	return list
}

func (s metadataStore) GetMetadata(name string) (scrape.MetricMetadata, bool) {
	m, ok := s.metadata.FamilyMetadata(name)
	return scrape.MetricMetadata{MetricFamily: name, Type: m.Type, Help: m.Help, Unit: m.Unit}, ok
}

func (s metadataStore) SizeMetadata() int   { return 0 }
func (s metadataStore) LengthMetadata() int { return len(s.metadata.Metadata()) }

// nothing stands in for parts that a server runs without.
type nothing struct{}

func (nothing) TargetsActive() map[string][]*scrape.Target  { return nil }
func (nothing) TargetsDropped() map[string][]*scrape.Target { return nil }
func (nothing) TargetsDroppedCounts() map[string]int        { return nil }
func (nothing) ScrapePools() []string                       { return []string{} }
func (nothing) ScrapePoolConfig(string) (*config.ScrapeConfig, error) {
	return nil, errors.New("nothing is scraped: the server has no scrape configuration")
}
func (nothing) Alertmanagers() []*url.URL            { return nil }
func (nothing) DroppedAlertmanagers() []*url.URL     { return nil }
func (nothing) RuleGroups() []*rules.Group           { return nil }
func (nothing) AlertingRules() []*rules.AlertingRule { return nil }
