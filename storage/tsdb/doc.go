// Package tsdb is the embedded metrics store: upstream's Prometheus TSDB with
// what a server that nobody watches needs around it. It appends the
// collector's samples by cached references, recovers from damage and from a
// full disk by itself, and loses no acknowledged sample when the process ends.
//
// # On disk
//
// The folder is a plain Prometheus data folder: the tsdb commands of promtool
// from 2.42 on read it, and a folder written by Prometheus can be opened here.
// Beside upstream's files it holds
//
//	lock               locked while a process uses the folder, by Prometheus too
//	binnacle-reserve   room for upstream's next head chunks on a full disk
//	quarantine/        what was broken and set aside; never read again, delete at will
//	wal-salvage.tmp/   a log file being written anew; removed when opening
//
// # Acknowledgement
//
// Append returns after upstream has written the batch's pages of the log to
// the kernel. They survive the end of the process, however that comes. They are
// synced to disk when a log file is complete (128 MiB) or the store is closed:
// a crash of the machine may take the last seconds, as with Prometheus.
//
// # Damage
//
// Upstream, when it finds a damaged record, deletes the rest of that log file
// and all later ones; it does not start with a damaged checkpoint or index.
// So before it opens the folder everything is looked at: log files are replaced
// by ones with every record that can still be read, broken blocks go to the
// quarantine, a block's lost description is written anew from its index, and
// damaged head chunks are read from the log again. Reading the log twice adds
// about a third to the time of the replay.
//
// Upstream also forgets out-of-order samples when the process is killed twice
// before the next block is written; see recoverMarkers.
//
// # Full disk
//
// Ingest stops while less than Options.MinFreeBytes is free, which is looked
// at every second; queries and compaction, which frees space, go on. If the
// kernel refuses a write all the same, the log may end in half a record and
// upstream holds series that it never logged. Then the store is closed and
// opened again in place as soon as there is room, which replays the log.
//
// # Left out
//
// Upstream's snapshot of memory on shutdown stays off: it is experimental, and
// wrong query results after a restart with it (prometheus#9725) are not
// explained yet.
package tsdb
