//go:build linux

package host

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
)

// maxMetricsBytes bounds a node's page of metrics.
const maxMetricsBytes = 4 << 20

func (n *node) Stats(ctx context.Context) (Stats, error) {
	pid := n.PID()
	if pid == 0 {
		return Stats{}, fmt.Errorf("node %s does not run", n.id)
	}
	memory, err := residentBytes(pid)
	if err != nil {
		return Stats{}, fmt.Errorf("node %s: %w", n.id, err)
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return Stats{}, fmt.Errorf("node %s: %w", n.id, err)
	}
	stats := Stats{MemoryBytes: memory, FileDescriptors: len(descriptors)}
	if n.Paused() {
		return stats, nil
	}
	status, page, err := n.get(ctx, "/metrics", maxMetricsBytes)
	if err != nil || status != http.StatusOK {
		// What the kernel tells is worth having all the same.
		return stats, nil
	}
	stats.Goroutines = int(metric(page, "go_goroutines"))
	stats.Leads = metric(page, "tidemark_raft_is_leader") == 1
	stats.Term = metric(page, "tidemark_raft_term")
	stats.CommitIndex = metric(page, "tidemark_raft_commit_index")
	stats.AppliedIndex = metric(page, "tidemark_raft_applied_index")
	stats.SnapshotBytes = metric(page, "tidemark_raft_snapshot_received_bytes_total")
	return stats, nil
}

// residentBytes reads the second number of /proc/PID/statm, which counts pages.
func residentBytes(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm is %q", pid, text)
	}
	pages, err := strconv.Atoi(string(fields[1]))
	return pages * os.Getpagesize(), err
}

// metric finds a metric without labels in Prometheus' text format, or returns 0.
func metric(page []byte, name string) uint64 {
	for line := range bytes.Lines(page) {
		value, ok := bytes.CutPrefix(line, []byte(name+" "))
		if !ok {
			continue
		}
		if number, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64); err == nil && number > 0 {
			return uint64(number)
		}
	}
	return 0
}
