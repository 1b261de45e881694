package bench

import (
	"context"
	"fmt"
	"time"
)

// ServerUse is what all nodes together used for what was measured.
type ServerUse struct {
	// Per is what Processor, Written and Syncs are for one of: a message, if it is not said
	// otherwise.
	Per string `json:"per"`
	// Processor is the time on processors.
	Processor time.Duration `json:"processor_ns"`
	// Written is how many bytes went to the disks: data of the Raft logs, and of the databases
	// their own logs, flushes and compactions.
	Written float64 `json:"written_bytes"`
	// Syncs is how many fsyncs the Raft logs and the votes took. Those of flushes and
	// compactions, of which there are few, are not counted by the nodes.
	Syncs float64 `json:"fsyncs"`
	// Memory is the resident memory of the largest node at the end.
	Memory int64 `json:"resident_bytes_of_largest_node"`
}

// Metrics of a node.
const (
	metricProcessor = "process_cpu_seconds_total"
	metricResident  = "process_resident_memory_bytes"
	metricLogged    = "tidemark_raft_log_append_bytes_total"
)

var (
	// metricsSynced are histograms of what takes one fsync each.
	metricsSynced  = []string{"tidemark_raft_log_append_seconds", "tidemark_raft_stable_write_seconds"}
	metricsWritten = []string{metricLogged, "tidemark_store_wal_written_bytes_total", "tidemark_store_flushed_bytes_total", "tidemark_store_compacted_bytes_total"}
)

// nodeSample is what the metrics of a node say at one moment.
type nodeSample struct {
	processor, resident, logged, written, syncs float64
}

func sampleNode(ctx context.Context, address string) (s nodeSample, err error) {
	m, err := readMetrics(ctx, address)
	if err != nil {
		return s, err
	}
	for _, read := range []struct {
		into  *float64
		names []string
	}{
		{&s.processor, []string{metricProcessor}}, {&s.resident, []string{metricResident}}, {&s.logged, []string{metricLogged}},
		{&s.written, metricsWritten}, {&s.syncs, metricsSynced},
	} {
		if *read.into, err = m.sum(read.names...); err != nil {
			return s, fmt.Errorf("metrics of %s: %w", address, err)
		}
	}
	return s, nil
}

// serverSample has the sample of each node.
type serverSample []nodeSample

func sampleServers(ctx context.Context, addresses []string) (s serverSample, err error) {
	for _, address := range addresses {
		node, err := sampleNode(ctx, address)
		if err != nil {
			return nil, err
		}
		s = append(s, node)
	}
	return s, nil
}

// since is what counters have grown by on all nodes together, and the memory of the largest.
func (s serverSample) since(before serverSample) (used nodeSample) {
	for i := range s {
		used.processor += growth(before[i].processor, s[i].processor)
		used.logged += growth(before[i].logged, s[i].logged)
		used.written += growth(before[i].written, s[i].written)
		used.syncs += growth(before[i].syncs, s[i].syncs)
		used.resident = max(used.resident, s[i].resident)
	}
	return used
}

// growth is that of a counter, which starts again with its node, and some when a snapshot is
// installed.
func growth(before, after float64) float64 {
	if after < before {
		return after
	}
	return after - before
}

// per divides what was used among n of what the word says.
func (s nodeSample) per(word string, n float64) ServerUse {
	return ServerUse{
		Per: word, Processor: time.Duration(s.processor / n * float64(time.Second)),
		Written: s.written / n, Syncs: s.syncs / n, Memory: int64(s.resident),
	}
}
