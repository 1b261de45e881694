package checker

import (
	"slices"
	"time"

	"tidemark/jepsen/history"
)

// RecoveryTime finds runs in which no append was acknowledged within the bound after
// all was healed. A run with faults that ends without an append after them is an
// anomaly too, because it shows no recovery.
func RecoveryTime(bound time.Duration) Checker {
	return direct{"recovery-time", func(x *index, f *findings) { recovery(x, bound, f) }}
}

func recovery(x *index, bound time.Duration, f *findings) {
	healed, ok := healedAt(x.h)
	if len(x.h.Faults) == 0 {
		return
	}
	if !ok {
		f.add("", nil, "a fault was never healed")
		return
	}
	var tried, first *history.Operation
	for i := range x.h.Operations {
		op := &x.h.Operations[i]
		if len(op.Items) == 0 {
			continue
		}
		if op.Completed == history.NeverEnded || op.Completed > healed {
			tried = op
		}
		if op.Completed > healed && acknowledged(op) && (first == nil || op.Completed < first.Completed) {
			first = op
		}
	}
	switch {
	case tried == nil:
		f.add("", nil, "no append was tried after all was healed at %v", healed)
	case first == nil:
		f.add("", []*history.Operation{tried}, "no append was acknowledged after all was healed at %v", healed)
	case first.Completed-healed > bound:
		f.add("", []*history.Operation{first}, "the first append after all was healed at %v was acknowledged %v later; the bound is %v",
			healed, first.Completed-healed, bound)
	}
}

func acknowledged(op *history.Operation) bool {
	for i := range op.Items {
		if op.ItemOutcome(&op.Items[i]) == history.OK {
			return true
		}
	}
	return false
}

// healedAt is when the last fault was healed. It reports false if one never was.
func healedAt(h *history.History) (time.Duration, bool) {
	var at time.Duration
	for _, f := range h.Faults {
		if f.To == history.NeverHealed {
			return 0, false
		}
		at = max(at, f.To)
	}
	return at, true
}

// ResourceLimits say how much a node may hold after healing: the median of what it
// held before the first fault, times Factor, and the slack on top. A store that
// grew holds more open files and cache, so they are wide: they find leaks, not fat.
type ResourceLimits struct {
	Factor                                        float64
	MemoryBytes, Goroutines, FileDescriptorsSlack int
	// LastSamples is how many samples at the end count; the smallest of them is judged.
	LastSamples int
}

// DefaultResourceLimits are those of All.
func DefaultResourceLimits() ResourceLimits {
	return ResourceLimits{Factor: 2, MemoryBytes: 256 << 20, Goroutines: 200, FileDescriptorsSlack: 256, LastSamples: 5}
}

// Resources finds nodes whose memory, goroutines or file descriptors are not back to
// normal after healing. Nodes without samples before or after the faults are not judged.
func Resources(limits ResourceLimits) Checker {
	return direct{"resources", func(x *index, f *findings) { resources(x.h, limits, f) }}
}

func resources(h *history.History, limits ResourceLimits, f *findings) {
	healed, ok := healedAt(h)
	if len(h.Faults) == 0 || !ok {
		return
	}
	begun := h.Faults[0].From
	for _, fault := range h.Faults {
		begun = min(begun, fault.From)
	}
	before, after := make(map[string][]history.Sample), make(map[string][]history.Sample)
	var nodes []string
	for _, s := range h.Samples {
		switch {
		case s.At < begun:
			before[s.Node] = append(before[s.Node], s)
		case s.At > healed:
			if after[s.Node] == nil {
				nodes = append(nodes, s.Node)
			}
			after[s.Node] = append(after[s.Node], s)
		}
	}
	slices.Sort(nodes)
	for _, node := range nodes {
		for _, r := range []struct {
			name  string
			slack int
			of    func(history.Sample) int
		}{
			{"bytes of memory", limits.MemoryBytes, func(s history.Sample) int { return s.MemoryBytes }},
			{"goroutines", limits.Goroutines, func(s history.Sample) int { return s.Goroutines }},
			{"file descriptors", limits.FileDescriptorsSlack, func(s history.Sample) int { return s.FileDescriptors }},
		} {
			was, is := values(before[node], r.of), values(after[node], r.of)
			if len(was) == 0 || len(is) == 0 {
				continue
			}
			end := slices.Min(is[max(0, len(is)-limits.LastSamples):])
			slices.Sort(was)
			normal := was[len(was)/2]
			if most := int(float64(normal)*limits.Factor) + r.slack; end > most {
				f.add("", nil, "node %s holds %d %s after healing; before the faults it held %d, and %d would be normal", node, end, r.name, normal, most)
			}
		}
	}
}

// values are the numbers that could be had.
func values(samples []history.Sample, of func(history.Sample) int) []int {
	var all []int
	for _, s := range samples {
		if v := of(s); v > 0 {
			all = append(all, v)
		}
	}
	return all
}
