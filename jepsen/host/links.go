//go:build linux

package host

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// pair is one direction between two nodes.
type pair struct{ from, to NodeID }

// Supports is Cluster's.
func (h *Host) Supports(feature Feature) bool {
	switch feature {
	case FeatureDisk:
		return h.options.NewDisk != nil
	case FeatureClock:
		return true
	case FeatureUpgrade:
		return h.options.OldBinary != ""
	}
	return h.network.supports(feature)
}

// Cut is Cluster's.
func (h *Host) Cut(from, to NodeID, oneWay bool) error {
	pairs := []pair{{from, to}}
	if !oneWay {
		pairs = append(pairs, pair{to, from})
	}
	return h.change(FeatureCut, func(l *link) { l.cut = true }, pairs...)
}

// Partition is Cluster's.
func (h *Host) Partition(groups ...[]NodeID) error {
	if err := h.need(FeatureCut); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, group := range groups {
		for _, id := range group {
			if h.find(id) == nil {
				return fmt.Errorf("partition: there is no node %q", id)
			}
		}
	}
	together := func(a, b NodeID) bool {
		return slices.ContainsFunc(groups, func(group []NodeID) bool {
			return slices.Contains(group, a) && slices.Contains(group, b)
		})
	}
	var errs []error
	for _, to := range h.nodes {
		for _, from := range h.nodes {
			if from != to {
				h.links.at(pair{from.id, to.id}).cut = !together(from.id, to.id)
			}
		}
		errs = append(errs, h.arrive(to.id))
	}
	return errors.Join(errs...)
}

// Slow is Cluster's.
func (h *Host) Slow(from, to NodeID, delay, jitter time.Duration) error {
	if delay < 0 || jitter < 0 || jitter > delay {
		return fmt.Errorf("slow %s→%s: jitter must be in [0, delay]; they are %v and %v", from, to, jitter, delay)
	}
	return h.change(FeatureDelay, func(l *link) { l.delay, l.jitter = delay, jitter }, pair{from, to})
}

// Lossy is Cluster's.
func (h *Host) Lossy(from, to NodeID, percent float64) error {
	if !(percent >= 0 && percent <= 100) {
		return fmt.Errorf("lossy %s→%s: percent must be in [0, 100]; it is %v", from, to, percent)
	}
	return h.change(FeatureLoss, func(l *link) { l.loss = uint32(percent/100*lossUnit + 0.5) }, pair{from, to})
}

// Bandwidth is Cluster's.
func (h *Host) Bandwidth(id NodeID, bytesPerSecond uint64) error {
	if err := h.need(FeatureBandwidth); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.known(id); err != nil {
		return err
	}
	return h.network.bandwidth(id, bytesPerSecond)
}

// Heal is Cluster's. It does all that it can, also after an error.
func (h *Host) Heal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.links)
	var errs []error
	for _, id := range h.ends() {
		if h.network.supports(FeatureCut) {
			errs = append(errs, h.arrive(id))
		}
		if h.network.supports(FeatureBandwidth) {
			errs = append(errs, h.network.bandwidth(id, 0))
		}
	}
	return errors.Join(errs...)
}

// links are the faults in force; a pair without an entry has none.
type links map[pair]*link

func (l links) at(p pair) *link {
	if l[p] == nil {
		l[p] = &link{}
	}
	return l[p]
}

// change changes links and brings that into force.
func (h *Host) change(feature Feature, change func(*link), pairs ...pair) error {
	if err := h.need(feature); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range pairs {
		if p.from == p.to {
			return fmt.Errorf("%s: %q has no link to itself", feature, p.from)
		}
		if err := errors.Join(h.known(p.from), h.known(p.to)); err != nil {
			return err
		}
	}
	var errs []error
	for _, p := range pairs {
		change(h.links.at(p))
		errs = append(errs, h.arrive(p.to))
	}
	return errors.Join(errs...)
}

// arrive brings into force what is wrong with all links to a node. The caller holds mu.
func (h *Host) arrive(to NodeID) error {
	faults := map[NodeID]link{}
	for p, l := range h.links {
		if p.to == to && *l != (link{}) {
			faults[p.from] = *l
		}
	}
	return h.network.arrive(to, faults)
}

func (h *Host) need(feature Feature) error {
	if h.Supports(feature) {
		return nil
	}
	return fmt.Errorf("%s on %s: %w", feature, h.network, errors.ErrUnsupported)
}

// ends are all ends of links. The caller holds mu.
func (h *Host) ends() []NodeID {
	ids := []NodeID{Clients}
	for _, n := range h.nodes {
		ids = append(ids, n.id)
	}
	return ids
}

func (h *Host) known(id NodeID) error {
	if id == Clients || h.find(id) != nil {
		return nil
	}
	return fmt.Errorf("there is no node %q", id)
}
