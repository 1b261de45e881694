package report

import (
	"tidemark/bench/result"
	"tidemark/bench/system"
)

// plotsOf draws what there is.
func plotsOf(r *result.Report) []plot {
	var appends, reads []field
	var plots []plot
	for _, f := range fields(r) {
		if f.work.Kind.NeedsBacklog() {
			reads = append(reads, f)
		} else {
			appends = append(appends, f)
		}
	}
	if len(appends) > 0 {
		plots = append(plots, plot{"appends.svg", "Appends at a glance", bars(appends)})
	}
	if len(reads) > 0 {
		plots = append(plots, plot{"reads.svg", "Reads at a glance", bars(reads)})
	}
	for _, f := range appends {
		if f.work.Kind != system.Append || f.work.Callers == 1 {
			continue
		}
		if svg := curves(f); svg != "" {
			plots = append(plots, plot{"latency-" + f.work.Name + ".svg", f.work.Title + ": latency", svg})
		}
	}
	return plots
}
