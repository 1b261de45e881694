package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"tidemark/pebblestore"
)

// diskCollector tells how much room there is.
type diskCollector struct{ disk *disk }

var (
	diskFree = prometheus.NewDesc("tidemark_disk_free_bytes",
		"Bytes free on the file system of the data directory.", nil, nil)
	diskReserve = prometheus.NewDesc("tidemark_disk_reserve_bytes",
		"Free bytes below which the node steps aside.", nil, nil)
)

// Describe is prometheus.Collector's.
func (c *diskCollector) Describe(out chan<- *prometheus.Desc) {
	out <- diskFree
	out <- diskReserve
}

// Collect is prometheus.Collector's.
func (c *diskCollector) Collect(out chan<- prometheus.Metric) {
	if free, err := c.disk.free(c.disk.dir); err == nil {
		out <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(free))
	}
	out <- prometheus.MustNewConstMetric(diskReserve, prometheus.GaugeValue, float64(c.disk.reserve))
}

// storeCollector tells the numbers of a store.
type storeCollector struct{ store *pebblestore.Store }

// storeMetric is one number of a store.
type storeMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*pebblestore.Metrics) float64
}

func storeNumber(kind prometheus.ValueType, name, help string, value func(*pebblestore.Metrics) float64) storeMetric {
	return storeMetric{prometheus.NewDesc("tidemark_store_"+name, help, nil, nil), kind, value}
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// Counters "since a snapshot was installed" start again when one is.
var storeMetrics = []storeMetric{
	storeNumber(gauge, "disk_bytes", "Bytes that the database takes on the disk, its log included.",
		func(m *pebblestore.Metrics) float64 { return float64(m.DiskBytes) }),
	storeNumber(gauge, "memtable_bytes", "Bytes in memory that wait to be written to tables.",
		func(m *pebblestore.Metrics) float64 { return float64(m.MemTableBytes) }),
	storeNumber(gauge, "memtables", "Memtables that wait to be written to tables.",
		func(m *pebblestore.Metrics) float64 { return float64(m.MemTables) }),
	storeNumber(gauge, "block_cache_bytes", "Bytes of blocks held in memory.",
		func(m *pebblestore.Metrics) float64 { return float64(m.BlockCacheBytes) }),
	storeNumber(counter, "block_cache_hits_total", "Blocks found in memory, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.BlockCacheHits) }),
	storeNumber(counter, "block_cache_misses_total", "Blocks read from the disk, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.BlockCacheMisses) }),
	storeNumber(counter, "filter_hits_total", "Look-ups answered by a filter, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.FilterHits) }),
	storeNumber(counter, "filter_misses_total", "Look-ups that a filter could not answer, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.FilterMisses) }),
	storeNumber(counter, "flushes_total", "Memtables written to tables, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.Flushes) }),
	storeNumber(counter, "flushed_bytes_total", "Bytes written to tables by flushes, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.FlushedBytes) }),
	storeNumber(counter, "compactions_total", "Compactions that ended, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.Compactions) }),
	storeNumber(counter, "compacted_bytes_total", "Bytes rewritten by compactions, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.CompactedBytes) }),
	storeNumber(gauge, "compactions_running", "Compactions that run.",
		func(m *pebblestore.Metrics) float64 { return float64(m.CompactionsRunning) }),
	storeNumber(gauge, "compaction_debt_bytes", "Bytes to be rewritten until the tables are in order.",
		func(m *pebblestore.Metrics) float64 { return float64(m.CompactionDebtBytes) }),
	storeNumber(gauge, "tables", "Tables in force.",
		func(m *pebblestore.Metrics) float64 { return float64(m.Tables) }),
	storeNumber(gauge, "table_bytes", "Bytes of the tables in force.",
		func(m *pebblestore.Metrics) float64 { return float64(m.TableBytes) }),
	storeNumber(gauge, "l0_tables", "Tables that are not merged yet.",
		func(m *pebblestore.Metrics) float64 { return float64(m.L0Tables) }),
	storeNumber(gauge, "read_amplification", "Tables that one look-up may have to visit.",
		func(m *pebblestore.Metrics) float64 { return float64(m.ReadAmplification) }),
	storeNumber(gauge, "wal_bytes", "Bytes of the database's own log.",
		func(m *pebblestore.Metrics) float64 { return float64(m.LogBytes) }),
	storeNumber(counter, "wal_written_bytes_total", "Bytes written to the database's own log, since a snapshot was installed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.LogBytesWritten) }),
	storeNumber(counter, "background_errors_total", "Flushes and compactions that failed and were tried again.",
		func(m *pebblestore.Metrics) float64 { return float64(m.BackgroundErrors) }),
	storeNumber(counter, "corruptions_total", "Damaged blocks that were met.",
		func(m *pebblestore.Metrics) float64 { return float64(m.Corruptions) }),
	storeNumber(counter, "write_stalls_total", "Times that writes had to wait for flushes or compactions.",
		func(m *pebblestore.Metrics) float64 { return float64(m.WriteStalls) }),
	storeNumber(counter, "write_stalled_seconds_total", "Seconds that writes had to wait for flushes or compactions.",
		func(m *pebblestore.Metrics) float64 { return m.WriteStalled.Seconds() }),
	storeNumber(counter, "disk_slow_total", "Operations on the disk that took longer than two seconds.",
		func(m *pebblestore.Metrics) float64 { return float64(m.DiskSlow) }),
	storeNumber(gauge, "open_snapshots", "Snapshots being streamed, which keep files from being removed.",
		func(m *pebblestore.Metrics) float64 { return float64(m.OpenSnapshots) }),
	storeNumber(gauge, "applied_index", "Log index up to which the state machine has applied.",
		func(m *pebblestore.Metrics) float64 { return float64(m.AppliedIndex) }),
	storeNumber(gauge, "durable_index", "Log index up to which the state machine survives a loss of power.",
		func(m *pebblestore.Metrics) float64 { return float64(m.DurableIndex) }),
}

// Describe is prometheus.Collector's.
func (c *storeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, metric := range storeMetrics {
		out <- metric.desc
	}
}

// Collect is prometheus.Collector's.
func (c *storeCollector) Collect(out chan<- prometheus.Metric) {
	numbers := c.store.Metrics()
	for _, metric := range storeMetrics {
		out <- prometheus.MustNewConstMetric(metric.desc, metric.kind, metric.value(&numbers))
	}
}
