package tsdb

import (
	"maps"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
)

const (
	// maxFamilies bounds the families whose metadata is kept. A cluster with
	// every usual exporter has about 3,000.
	maxFamilies = 10_000
	// maxHelpBytes bounds a help text; longer ones are cut.
	maxHelpBytes = 1024
)

// families remembers type, help and unit of metric families. It is not
// stored: producers name them again when they start.
type families struct {
	metrics *metrics

	mu     sync.RWMutex
	byName map[string]metadata.Metadata
}

func newFamilies(m *metrics) *families {
	return &families{metrics: m, byName: make(map[string]metadata.Metadata)}
}

// learn notes what is known of a family; the newest wins.
func (f *families) learn(name string, m metadata.Metadata) {
	if name == "" || m.IsEmpty() {
		return
	}
	if len(m.Help) > maxHelpBytes {
		m.Help = strings.ToValidUTF8(m.Help[:maxHelpBytes], "")
	}
	f.mu.RLock()
	known, ok := f.byName[name]
	f.mu.RUnlock()
	if ok && known == m {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.byName[name]; !ok && len(f.byName) >= maxFamilies {
		f.metrics.metadataDropped.Inc()
		return
	}
	// Copies, because name and help may point into a whole request body.
	m.Help, m.Unit, m.Type = strings.Clone(m.Help), strings.Clone(m.Unit), model.MetricType(strings.Clone(string(m.Type)))
	f.byName[strings.Clone(name)] = m
}

// learnSeries notes metadata that came with a series instead of a family name.
func (f *families) learnSeries(ls labels.Labels, m metadata.Metadata) {
	f.learn(familyName(ls.Get(model.MetricNameLabel), m.Type), m)
}

// familyName takes off what the series of a histogram or summary add to the
// name of their family.
func familyName(name string, t model.MetricType) string {
	if t != model.MetricTypeHistogram && t != model.MetricTypeGaugeHistogram && t != model.MetricTypeSummary {
		return name
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum", "_gcount", "_gsum"} {
		if family, ok := strings.CutSuffix(name, suffix); ok {
			return family
		}
	}
	return name
}

func (f *families) all() map[string]metadata.Metadata {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return maps.Clone(f.byName)
}

func (f *families) get(name string) (metadata.Metadata, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	m, ok := f.byName[name]
	return m, ok
}

// Metadata returns type, help and unit of every metric family that samples
// came in for since the store was opened, by family name. The bound is 10,000
// families. The map belongs to the caller.
func (db *DB) Metadata() map[string]metadata.Metadata { return db.families.all() }

// FamilyMetadata is Metadata for one family.
func (db *DB) FamilyMetadata(name string) (metadata.Metadata, bool) { return db.families.get(name) }
