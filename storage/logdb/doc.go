// Package logdb is the embedded log store: it takes records from agents, keeps
// them for days on one disk, and finds a text in the middle of a word without
// having indexed words.
//
// # On disk
//
// The data folder holds write-ahead logs (N.wal), segments (N.seg), the folder
// quarantine/ with segments that cannot be read, and a lock. The formats are
// described in docs/logdb-format.md.
//
// # Writing
//
// A batch is appended to the log in one compressed frame and then to the head,
// pages of records in memory in the order of arrival. When half of
// Options.HeadBytes is used, the head's part is sealed: it is sorted by stream
// and time and written to a segment, while the next part, with a log of its
// own, fills the other half. The segment is on the disk under its name before
// the log is removed. Segments are merged in the background; large blocks are
// copied as they are, small ones of the same stream packed together.
//
// # Acknowledgement
//
// Write returns when the kernel has the log: records survive the end of the
// process, however that comes. The log is synced every Options.SyncInterval; a
// crash of the machine may take what was written since.
//
// Of every source the offset of its last record is remembered, in memory, by
// the log and by the segments' footers; a record at or below it was stored
// before and is left out. Records without a source are left out when the head
// has the same one (stream, time, text and metadata).
//
// # Reading
//
// A query sees a snapshot: the segments, held by references, and the head's
// pages, which only grow. Blocks of at most 512 KiB of text of one stream are
// skipped by stream, time, level, and a bitmap of the trigrams in them; what is
// left is decompressed and searched for the literals that a filter requires
// before its regular expression runs. Ordered results are collected in windows
// of bounded size (see window), so that neither the number of streams nor that
// of results decides on memory. Counting reads times and levels alone.
//
// # Damage
//
// Everything has a checksum. A damaged block costs its records, a damaged skip
// index only time, a damaged footer its segment, which is set aside; the log
// ends at its first damaged frame. All of it is counted and logged.
//
// # Full disk
//
// Below Options.MinFreeBytes, and when the kernel refuses a write, Write
// returns storage.ErrFull; queries and retention go on, and writing resumes by
// itself.
package logdb
