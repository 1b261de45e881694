package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/localcluster"
)

// GrowthSpace is what a step takes on disks and in memory.
type GrowthSpace struct {
	// Store is the size of a node's database on the disk, its own log included, the mean of all
	// nodes, before anything but the filling was measured.
	Store           float64 `json:"store_bytes"`
	StorePerMessage float64 `json:"store_bytes_per_message"`
	// Resident and Live are those of the largest node behind the appends, Live after a garbage
	// collection. Peak is the most that a node's process has had resident at any time so far,
	// also while Times were measured; 0 where the system does not tell.
	Resident int64 `json:"resident_bytes"`
	Live     int64 `json:"live_bytes"`
	Peak     int64 `json:"peak_resident_bytes"`
}

// stored is the mean size of the nodes' databases.
func (g *growing) stored() (mean float64, err error) {
	for _, node := range g.cluster.Nodes {
		bytes, err := bytesBelow(filepath.Join(node.DataDir, "store"))
		if err != nil {
			return 0, err
		}
		mean += float64(bytes) / float64(len(g.cluster.Nodes))
	}
	return mean, nil
}

// bytesBelow adds the sizes of all files, of which some may go meanwhile.
func bytesBelow(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && entry.Type().IsRegular() {
			if info, err = entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return bytes, err
}

// memory reads that of the largest node, first as it is.
func (g *growing) memory(ctx context.Context, space *GrowthSpace) error {
	for _, address := range g.HTTP {
		resident, err := number(ctx, address, metricResident)
		if err != nil {
			return err
		}
		collected, err := readMemory(ctx, address)
		if err != nil {
			return err
		}
		space.Resident, space.Live = max(space.Resident, int64(resident)), max(space.Live, collected.Live)
	}
	space.Peak = g.peak()
	return nil
}

// peak is the most that a node has had resident since it was started.
func (g *growing) peak() (most int64) {
	for _, node := range g.cluster.Nodes {
		most = max(most, peak(node))
	}
	return most
}

// peak is the most that the process has had resident; 0 where the system does not tell.
func peak(node *localcluster.Node) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", node.PID()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}

// openTails has a node serve as many idle subscriptions as the size says, each of a timeline
// that exists, until they are closed.
func (g *growing) openTails(ctx context.Context, node *localcluster.Node, s size) (closeAll func(), err error) {
	if s.tails == 0 {
		return func() {}, nil
	}
	b := &tailBench{TailConfig: TailConfig{Target: g.Target, Subscriptions: s.tails, Progress: g.Progress}}
	if err := g.add(ctx, g.unfollowed(b), s.payload); err != nil {
		return nil, err
	}
	c, err := client.New([]string{node.Listen}, client.WithoutDiscovery())
	if err != nil {
		return nil, err
	}
	tail, err := c.Tail()
	if err == nil {
		err = b.subscribe(ctx, tail, &TailOnNode{Endpoint: node.Listen})
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for err := error(nil); err == nil; _, err = tail.Next(ctx) {
		}
	}()
	return func() {
		cancel()
		<-ended
		tail.Close()
		c.Close()
	}, nil
}

// unfollowed yields the timelines of a tail that do not exist yet.
func (g *growing) unfollowed(b *tailBench) iter.Seq[tidemark.TimelineID] {
	return func(yield func(tidemark.TimelineID) bool) {
		for ; g.followed < b.Subscriptions; g.followed++ {
			if !yield(b.liveTimeline(g.followed)) {
				return
			}
		}
	}
}
