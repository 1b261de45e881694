package pebblestore

import (
	"log/slog"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configure a Store. Start from DefaultOptions: zero is not a default,
// except where it says so.
type Options struct {
	// FS is the file system of everything that the store keeps; nil is the disk,
	// watched for slow operations.
	FS vfs.FS
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger

	// BlockCacheBytes bounds the uncompressed blocks of tables that stay in memory.
	BlockCacheBytes int64
	// MemTableBytes is how much is gathered in memory before it is written to the database
	// (see buffer), while as much may be on its way there. After a crash that is applied again
	// from the Raft log.
	MemTableBytes uint64
	// BloomBitsPerKey sizes the filter that every table has; 0 is no filter.
	BloomBitsPerKey int
	// MaxOpenFiles bounds the tables that are open at once.
	MaxOpenFiles int
	// MaxCompactions bounds the compactions that run at once.
	MaxCompactions int
	// TrimFlushDelay is how long a trim may stay in memory when no other writes fill that
	// up; 0 is for ever. The space of what was trimmed comes back by compactions, which are
	// of tables only.
	TrimFlushDelay time.Duration
	// PurgeDelay is how long after a redaction its message's old records are compacted away;
	// redactions in between go with it. 0 leaves it to compactions that come by themselves.
	PurgeDelay time.Duration
	// Compression is that of new tables. Old ones keep theirs until they are rewritten.
	Compression Compression
	// IDFilterBytes is the size of the filter that spares appends the look-up of their message
	// ids; 0 is none. An id takes 12 bits of it; with twice as many ids it is given up.
	IDFilterBytes int64
	// HeadCacheEntries bounds the heads that the writer remembers from batch to
	// batch; 0 remembers none.
	HeadCacheEntries int

	// Fatal is called when the store cannot go on: a flush failed, or an invariant of
	// Pebble is broken. It must not return. Nil logs the message
	// and exits with status 1.
	Fatal func(message string)
	// OnDiskSlow is told of operations on the disk that take too long, while they
	// do. It must not block; nil is not told. Only the disk (FS == nil) is watched.
	OnDiskSlow func(path string, took time.Duration)
	// OnBackgroundError is told when a compaction fails. It will be tried again; until
	// one succeeds, there are ever more tables, and at some number writes stop. It must not
	// block; nil is not told.
	OnBackgroundError func(error)

	// tune, if it is not nil, changes what was made of these for the database: for measurements.
	tune func(*pebble.Options)
}

// Compression says how blocks of tables are compressed.
type Compression uint8

const (
	// CompressionFast is for text and everything unknown: it costs little where it gains nothing.
	CompressionFast Compression = iota
	// CompressionNone is for payloads that are encrypted or compressed already.
	CompressionNone
	// CompressionBalanced compresses the lowest levels harder: less disk for more work.
	CompressionBalanced
)

// diskSlowAfter is when an operation counts as slow. A write or sync on a sound
// disk takes milliseconds, and a follower that hangs for heartbeats' time matters.
const diskSlowAfter = 2 * time.Second

// DefaultOptions returns options for a node with some gigabytes of memory that it
// shares with its log and its clients.
func DefaultOptions() Options {
	return Options{
		// Reads go to what was appended last, which is small; the rest of the
		// cache holds the index and filter blocks that dedupe look-ups touch.
		BlockCacheBytes: 256 << 20,
		// Larger ones write fewer, larger tables, so that less is rewritten; but a node takes
		// twice as much memory. It is applied again from the log in a second or two.
		MemTableBytes: 32 << 20,
		// Every append looks its message id up, and nearly none is there. 10 bits
		// a key answer 99 of 100 such look-ups in a table without reading a block.
		BloomBitsPerKey: 10,
		// A table has 4 to 128 MiB, so that all tables of some 100 GiB are open.
		MaxOpenFiles: 4096,
		// One more than the flush, so that two cores are not taken from the
		// clients; Pebble starts it only when compaction falls behind.
		MaxCompactions: 2,
		// Retention trims once a minute by default, so that each of its rounds makes one
		// table, and up to freshTables rounds later there is a compaction.
		TrimFlushDelay: 10 * time.Second,
		// A purge writes a table, and rewrites one on each level; fresh tables have keys of all
		// timelines, so all of those that were not merged yet, and what they overlap.
		PurgeDelay:  10 * time.Second,
		Compression: CompressionFast,
		// Enough for some 20 million messages; it begins with a quarter of a mebibyte.
		IDFilterBytes:    32 << 20,
		HeadCacheEntries: 64 << 10,
	}
}

const (
	// syncBytes makes the kernel write tables out as they grow, without waiting. Their sync
	// then has little left to do, and does not hold up the syncs of the Raft log on the same disk.
	syncBytes = 512 << 10
	// freshTables is the number of overlapping fresh tables at which they are merged with the
	// first level: more of them cost look-ups, fewer cost rewrites, since as good as all of that level
	// goes with them each time.
	freshTables = 8
	// l0CompactionThreshold makes it so: Pebble counts each run of fresh tables twice.
	l0CompactionThreshold = 2 * freshTables
	// l0StopThreshold is the number at which writes wait. Filters keep look-ups
	// cheap far beyond it, so it only bounds how far compaction may fall behind.
	l0StopThreshold = 40
	// baseLevelBytes is the size of the first level below the fresh tables. It is
	// some flushes large, so that small stores have one level and large ones few.
	baseLevelBytes = 256 << 20
	// blockBytes is what is read and written at one go: a page of messages is in two or three.
	blockBytes = 16 << 10
	// firstFileBytes is the size of tables that are merged from fresh ones among themselves, each of
	// which is a whole buffer; each level below doubles it.
	firstFileBytes = 4 << 20
)

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

func (o *Options) fatal(message string) {
	if o.Fatal != nil {
		o.Fatal(message)
	}
	// Whoever set a Fatal that returns did not mean to go on with a broken store.
	o.logger().Error("store cannot go on", "error", message)
	os.Exit(1)
}

// pebbleOptions are the same for every generation, but for what a caller adds.
func (o *Options) pebbleOptions(fsys vfs.FS, e *events) *pebble.Options {
	options := &pebble.Options{
		FS:                         fsys,
		CacheSize:                  o.BlockCacheBytes,
		MaxOpenFiles:               o.MaxOpenFiles,
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, o.MaxCompactions) },
		L0CompactionThreshold:      l0CompactionThreshold,
		L0StopWritesThreshold:      l0StopThreshold,
		LBaseMaxBytes:              baseLevelBytes,
		BytesPerSync:               syncBytes,
		// Named, because the default is the oldest. The newest tells a torn tail
		// of the log from damage before it.
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             &pebbleLogger{events: e},
		EventListener:      e.listener(),
		// A generation that is opened must be there; only create makes one.
		ErrorIfNotExists: true,
	}
	// A table that the database takes over is in the manifest then, or what inspect reads would lack
	// it: not in the log, as it may be while the memtable holds some of its keys.
	options.Experimental.DisableIngestAsFlushable = func() bool { return true }
	options.TargetFileSizes[0] = firstFileBytes
	// Levels below the first take what this one has.
	options.Levels[0].BlockSize = blockBytes
	// Tables that were written with a filter keep it when new ones have none.
	filter := bloom.FilterPolicy(max(1, o.BloomBitsPerKey))
	options.Filters = map[string]pebble.FilterPolicy{filter.Name(): filter}
	if o.BloomBitsPerKey > 0 {
		options.Levels[0].FilterPolicy = filter
	}
	options.ApplyCompressionSettings(func() pebble.DBCompressionSettings {
		switch o.Compression {
		case CompressionNone:
			return pebble.DBCompressionNone
		case CompressionBalanced:
			return pebble.DBCompressionBalanced
		default:
			return pebble.DBCompressionFastest
		}
	})
	if o.tune != nil {
		o.tune(options)
	}
	return options
}
