package loki

import (
	"encoding/json"

	"github.com/binnacle-obs/binnacle/server/logql"
)

// statistics is the part of Loki's statistics that means something here. A
// block is called a chunk by Loki; one that an index skipped is not downloaded.
type statistics struct {
	Summary struct {
		BytesProcessedPerSecond int64   `json:"bytesProcessedPerSecond"`
		LinesProcessedPerSecond int64   `json:"linesProcessedPerSecond"`
		TotalBytesProcessed     int64   `json:"totalBytesProcessed"`
		TotalLinesProcessed     int64   `json:"totalLinesProcessed"`
		ExecTime                float64 `json:"execTime"`
		QueueTime               float64 `json:"queueTime"`
		TotalEntriesReturned    int64   `json:"totalEntriesReturned"`
	} `json:"summary"`
	Querier struct {
		Store struct {
			TotalChunksRef        int64 `json:"totalChunksRef"`
			TotalChunksDownloaded int64 `json:"totalChunksDownloaded"`
			Chunk                 struct {
				DecompressedBytes int64 `json:"decompressedBytes"`
				DecompressedLines int64 `json:"decompressedLines"`
			} `json:"chunk"`
		} `json:"store"`
	} `json:"querier"`
}

// encodeStats returns what a query cost as JSON.
func encodeStats(s logql.Stats) []byte {
	var out statistics
	out.Summary.TotalBytesProcessed = s.Bytes
	out.Summary.TotalLinesProcessed = s.Lines
	out.Summary.ExecTime = s.Took.Seconds()
	out.Summary.TotalEntriesReturned = s.Entries
	if s.Took > 0 {
		out.Summary.BytesProcessedPerSecond = int64(float64(s.Bytes) / s.Took.Seconds())
		out.Summary.LinesProcessedPerSecond = int64(float64(s.Lines) / s.Took.Seconds())
	}
	store := &out.Querier.Store
	store.TotalChunksRef = s.Blocks
	store.TotalChunksDownloaded = s.Blocks - s.BlocksSkipped
	store.Chunk.DecompressedBytes = s.Bytes
	store.Chunk.DecompressedLines = s.Lines
	b, err := json.Marshal(out)
	if err != nil { // cannot happen: numbers that are finite
		return []byte("{}")
	}
	return b
}
