package logdb

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// Defaults of Options.
const (
	// DefaultHeadBytes holds some 250,000 usual lines.
	DefaultHeadBytes = 64 * mib
	// DefaultBlockBytes is where larger blocks stop compressing better.
	DefaultBlockBytes = 512 * kib
	// DefaultRetention is a week.
	DefaultRetention = 7 * 24 * time.Hour
	// DefaultSyncInterval is what a crash of the machine may cost.
	DefaultSyncInterval = time.Second
	// DefaultMaxQueryBytes bounds the results that an ordered query holds back
	// while it looks for those that come before them.
	DefaultMaxQueryBytes = 32 * mib
)

const (
	// minHeadBytes lets a head hold the longest line twice.
	minHeadBytes = 256 * kib
	minBlock     = 4 * kib
	maxBlock     = 512 * kib
)

// SyncAlways as Options.SyncInterval makes every Write wait until its records
// are on the disk.
const SyncAlways = time.Duration(-1)

// Options of a DB. The zero value of a field is its default.
type Options struct {
	// Dir is the data folder, made if it does not exist. Required.
	Dir string
	// HeadBytes bounds the memory of records that are not in a segment yet,
	// those being written to one included.
	HeadBytes int64
	// BlockBytes bounds the text of a block; a longer line has its own block.
	BlockBytes int
	// Retention is how long records are kept, by their own time. Segments go as
	// a whole, so that some may stay a little longer.
	Retention time.Duration
	// NamespaceRetention overrides Retention for streams by their namespace.
	NamespaceRetention map[string]time.Duration
	// RetentionBytes bounds the bytes on disk; the oldest segments go first. 0
	// means no bound.
	RetentionBytes int64
	// SyncInterval is how often the write-ahead log is synced to the disk: a
	// crash of the machine, not of the process, may cost what was written since.
	SyncInterval time.Duration
	// MinFreeBytes is kept free on the disk; below it Write returns
	// storage.ErrFull. 0 means 1 % of the disk, at least 64 MiB and at most
	// 1 GiB, but never more than a tenth of the disk.
	MinFreeBytes int64
	// MaxQueryBytes bounds the memory that one query takes for its results.
	MaxQueryBytes int64
	// Logger may be nil.
	Logger *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
}

// withDefaults fills in defaults and says which value cannot be used.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("logdb: no data folder given")
	}
	if o.Retention < 0 || o.RetentionBytes < 0 || o.MinFreeBytes < 0 || o.MaxQueryBytes < 0 {
		return o, fmt.Errorf("logdb: negative retention or limit (retention %v, bytes %d, free %d, query %d)",
			o.Retention, o.RetentionBytes, o.MinFreeBytes, o.MaxQueryBytes)
	}
	for namespace, d := range o.NamespaceRetention {
		if d <= 0 {
			return o, fmt.Errorf("logdb: retention of namespace %q is %v, it must be above 0", namespace, d)
		}
	}
	setDefault(&o.HeadBytes, DefaultHeadBytes)
	setDefault(&o.BlockBytes, DefaultBlockBytes)
	setDefault(&o.Retention, DefaultRetention)
	setDefault(&o.SyncInterval, DefaultSyncInterval)
	setDefault(&o.MaxQueryBytes, DefaultMaxQueryBytes)
	if o.HeadBytes < minHeadBytes {
		return o, fmt.Errorf("logdb: a head of %d bytes is too small, at least %d are needed", o.HeadBytes, minHeadBytes)
	}
	if o.BlockBytes < minBlock || o.BlockBytes > maxBlock {
		return o, fmt.Errorf("logdb: blocks of %d bytes, they must have between %d and %d", o.BlockBytes, minBlock, maxBlock)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// retentionOf is how long records of a namespace are kept.
func (o *Options) retentionOf(namespace string) time.Duration {
	if d, ok := o.NamespaceRetention[namespace]; ok {
		return d
	}
	return o.Retention
}
