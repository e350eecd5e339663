package logdb

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/binnacle-obs/binnacle/storage"
)

// Streams implements storage.LogStore. Blocks that lie in the span as a whole
// are counted by what the footers say; of the others the times are read, so
// that the counts are exact.
func (db *DB) Streams(ctx context.Context, matchers []*labels.Matcher, start, end int64) ([]storage.StreamInfo, error) {
	if err := db.mayRead(ctx); err != nil {
		return nil, err
	}
	db.metrics.queries.WithLabelValues("streams").Inc()
	set, n := db.streams.find(matchers)
	if n == 0 || start >= end {
		return nil, nil
	}
	snap := db.snapshot()
	defer db.release(&snap)
	q := storage.LogQuery{Start: start, End: end, NoLine: true}
	scan := db.newScanner(ctx, &q, set)
	scan.needIdentity = false
	infos := make(map[*stream]*storage.StreamInfo)
	refs := scan.plan(&snap)
	for i := range refs {
		ref := &refs[i]
		if ref.segment != nil && ref.minTime >= start && ref.maxTime < end {
			m := &ref.segment.blocks[ref.block]
			addInfo(infos, ref.segment.streams[m.stream], int64(m.rows), int64(m.textBytes), m.minTime, m.maxTime)
			continue
		}
		if err := scan.load(ref, start, end-1); err != nil {
			return nil, err
		}
		for _, row := range scan.rows {
			t := scan.columns.times[row]
			addInfo(infos, scan.streamAt(row), 1, int64(scan.columns.size(int(row))), t, t)
		}
	}
	out := make([]storage.StreamInfo, 0, len(infos))
	for _, info := range infos {
		out = append(out, *info)
	}
	return out, nil
}

func addInfo(infos map[*stream]*storage.StreamInfo, s *stream, records, bytes, first, last int64) {
	info := infos[s]
	if info == nil {
		info = &storage.StreamInfo{Labels: s.Labels, First: first, Last: last}
		infos[s] = info
	}
	info.Records += records
	info.Bytes += bytes
	info.First, info.Last = min(info.First, first), max(info.Last, last)
}
