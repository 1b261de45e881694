package pebblestore

import "time"

// Metrics are plain numbers about a store, for whoever exports them. Counters
// count since Open, and those that come from the database (marked "of the
// generation") since the last snapshot was installed, if that was later.
type Metrics struct {
	// DiskBytes is what the database takes on the disk, its log included.
	DiskBytes uint64
	// MemTableBytes is what waits in memory to be written to tables, and MemTables how many
	// memtables of the database are a part of it.
	MemTableBytes uint64
	MemTables     int64
	// BlockCacheBytes, Hits and Misses are those of the block cache, of the generation.
	BlockCacheBytes  int64
	BlockCacheHits   int64
	BlockCacheMisses int64
	// FilterHits counts look-ups that a bloom filter answered, FilterMisses those
	// that had to read, of the generation.
	FilterHits   int64
	FilterMisses int64

	// Flushes and Compactions count those that ended, of the generation.
	Flushes     int64
	Compactions int64
	// CompactionsRunning is their number, and CompactionDebtBytes what is yet to be
	// rewritten for the tables to be in order.
	CompactionsRunning  int64
	CompactionDebtBytes uint64
	// FlushedBytes and CompactedBytes were written to tables, of the generation.
	FlushedBytes   uint64
	CompactedBytes uint64
	// Tables and TableBytes are the tables in force; L0Tables and L0Sublevels are
	// those not yet merged, and ReadAmplification how many a look-up may visit.
	Tables            int64
	TableBytes        int64
	L0Tables          int64
	L0Sublevels       int32
	ReadAmplification int

	// LogBytes is the size of the log, and LogBytesWritten what was written to
	// it, of the generation.
	LogBytes        uint64
	LogBytesWritten uint64

	// BackgroundErrors counts flushes and compactions that failed and were tried again.
	BackgroundErrors uint64
	// Corruptions counts damaged blocks that were met.
	Corruptions uint64
	// WriteStalls counts how often writes had to wait for flushes or compactions,
	// and WriteStalled for how long, in all.
	WriteStalls  uint64
	WriteStalled time.Duration
	// DiskSlow counts operations on the disk that took longer than 2 s.
	DiskSlow uint64

	// OpenSnapshots is the number of snapshots that keep files from being removed.
	OpenSnapshots int64
	AppliedIndex  uint64
	DurableIndex  uint64
}

// Metrics returns the present numbers; only those of the store itself after Close.
func (s *Store) Metrics() Metrics {
	m := Metrics{
		BackgroundErrors: s.events.backgroundErrors.Load(),
		Corruptions:      s.events.corruptions.Load(),
		WriteStalls:      s.events.writeStalls.Load(),
		WriteStalled:     time.Duration(s.events.stalledNanos.Load()),
		DiskSlow:         s.events.diskSlow.Load(),
		OpenSnapshots:    s.openSnapshots.Load(),
		AppliedIndex:     s.Applied().Index,
		DurableIndex:     s.DurableIndex(),
	}
	g, err := s.acquire()
	if err != nil {
		return m
	}
	defer g.release()
	p := g.db.Metrics()
	m.DiskBytes = p.DiskSpaceUsage()
	m.MemTableBytes, m.MemTables = p.MemTable.Size+g.bufferedBytes(), p.MemTable.Count
	m.BlockCacheBytes, m.BlockCacheHits, m.BlockCacheMisses = p.BlockCache.Size, p.BlockCache.Hits, p.BlockCache.Misses
	m.FilterHits, m.FilterMisses = p.Filter.Hits, p.Filter.Misses
	m.Flushes, m.Compactions = p.Flush.Count+int64(p.Ingest.Count), p.Compact.Count
	m.CompactionsRunning, m.CompactionDebtBytes = p.Compact.NumInProgress, p.Compact.EstimatedDebt
	total := p.Total()
	m.CompactedBytes = total.TableBytesCompacted
	for i := range p.Levels { // of which the total counts some twice, to have the log in it
		m.FlushedBytes += p.Levels[i].TableBytesFlushed + p.Levels[i].TableBytesIngested
	}
	m.Tables, m.TableBytes = total.TablesCount, total.TablesSize
	m.L0Tables, m.L0Sublevels, m.ReadAmplification = p.Levels[0].TablesCount, p.Levels[0].Sublevels, p.ReadAmp()
	m.LogBytes, m.LogBytesWritten = p.WAL.Size, p.WAL.BytesWritten
	return m
}
