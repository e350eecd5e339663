package loki

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// tooLarge says that a document cannot be cut without being wrong.
func tooLarge(size, limit int) error {
	return fmt.Errorf("%w: the result of %d bytes is larger than %d; narrow the selector or the span of time", storage.ErrQueryLimit, size, limit)
}

// streamInfos returns the streams that the parameters query, start and end
// select.
func (h *Handler) streamInfos(r *http.Request, p params) ([]storage.StreamInfo, error) {
	start, end, err := p.span(sinceMetadata)
	if err != nil {
		return nil, err
	}
	matchers, err := h.selector(p.Get("query"))
	if err != nil {
		return nil, err
	}
	return h.opts.Store.Streams(r.Context(), matchers, start, end)
}

// serveLabels lists the names of labels of streams.
func (h *Handler) serveLabels(w http.ResponseWriter, r *http.Request) {
	infos, err := h.streamInfos(r, h.params(r))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	names := make(map[string]struct{})
	for _, info := range infos {
		info.Labels.Range(func(l labels.Label) { names[l.Name] = struct{}{} })
	}
	writeData(w, r, nil, appendStrings(nil, sortedKeys(names)))
}

// serveLabelValues lists the values of a label.
func (h *Handler) serveLabelValues(w http.ResponseWriter, r *http.Request) {
	infos, err := h.streamInfos(r, h.params(r))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	name := r.PathValue("name")
	values := make(map[string]struct{})
	for _, info := range infos {
		if value := info.Labels.Get(name); value != "" {
			values[value] = struct{}{}
		}
	}
	writeData(w, r, nil, appendStrings(nil, sortedKeys(values)))
}

// serveSeries lists streams by their labels.
func (h *Handler) serveSeries(w http.ResponseWriter, r *http.Request) {
	p := h.params(r)
	start, end, err := p.span(sinceMetadata)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	selectors := slices.Concat(p.Values["match[]"], p.Values["match"])
	if len(selectors) == 0 {
		selectors = []string{""}
	}
	found := make(map[string]labels.Labels)
	for _, text := range selectors {
		matchers, err := h.selector(text)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		infos, err := h.opts.Store.Streams(r.Context(), matchers, start, end)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		for _, info := range infos {
			found[string(info.Labels.Bytes(nil))] = info.Labels
		}
	}
	b := []byte{'['}
	for i, l := range sortedLabels(found) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendLabels(b, l)
	}
	if len(b) > h.opts.MaxResultBytes {
		h.fail(w, r, tooLarge(len(b), h.opts.MaxResultBytes))
		return
	}
	writeData(w, r, nil, append(b, ']'))
}

// serveIndexStats sums up what a selector finds. Loki answers without its
// usual frame here.
func (h *Handler) serveIndexStats(w http.ResponseWriter, r *http.Request) {
	infos, err := h.streamInfos(r, h.params(r))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var entries, bytes int64
	for _, info := range infos {
		entries += info.Records
		bytes += info.Bytes
	}
	streams := int64(len(infos))
	b := []byte(`{"streams":`)
	b = strconv.AppendInt(b, streams, 10)
	// What a chunk is to Loki is not known above a store; there is at least one
	// for each stream.
	b = append(b, `,"chunks":`...)
	b = strconv.AppendInt(b, streams, 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, bytes, 10)
	b = append(b, `,"entries":`...)
	b = strconv.AppendInt(b, entries, 10)
	writeJSON(w, r, append(b, "}\n"...))
}

// serveDetectedLabels lists the labels of streams with how many values each
// has. Loki answers without its usual frame here.
func (h *Handler) serveDetectedLabels(w http.ResponseWriter, r *http.Request) {
	infos, err := h.streamInfos(r, h.params(r))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	values := make(map[string]map[string]struct{})
	for _, info := range infos {
		info.Labels.Range(func(l labels.Label) {
			if values[l.Name] == nil {
				values[l.Name] = make(map[string]struct{})
			}
			values[l.Name][l.Value] = struct{}{}
		})
	}
	b := []byte(`{"detectedLabels":[`)
	for i, name := range sortedKeys(values) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"label":`...)
		b = appendString(b, name)
		b = append(b, `,"cardinality":`...)
		b = strconv.AppendInt(b, int64(len(values[name])), 10)
		b = append(b, '}')
	}
	writeJSON(w, r, append(b, "]}\n"...))
}

// serveFormatQuery writes a query as one would write it.
func (h *Handler) serveFormatQuery(w http.ResponseWriter, r *http.Request) {
	text, err := h.params(r).query()
	if err == nil {
		text, err = format(text)
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeData(w, r, nil, appendString(nil, text))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func sortedLabels(m map[string]labels.Labels) []labels.Labels {
	all := make([]labels.Labels, 0, len(m))
	for _, l := range m {
		all = append(all, l)
	}
	slices.SortFunc(all, labels.Compare)
	return all
}
