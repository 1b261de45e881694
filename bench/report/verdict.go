package report

import (
	"fmt"
	"strings"
)

// verdicts say of a work which peers win, and how near Tidemark comes to its ceiling.
func verdicts(f field) []string {
	ours := f.ours()
	if len(ours) == 0 || len(ours[0].runs) == 0 {
		return nil
	}
	reference := ours[0]
	name := reference.name(f.work.Kind)
	var lines []string
	behind := false
	for _, c := range f.contenders {
		if c.system.Ours {
			continue
		}
		switch r, rounds := c.ratio(reference); {
		case rounds == 0:
		case c.system.Ceiling:
			own, _ := reference.ratio(c)
			lines = append(lines, fmt.Sprintf("%s does %.0f %% (%.0f–%.0f %%) of what its ceiling does.", name, 100*own.median, 100*own.min, 100*own.max))
		case r.median > 1:
			behind = true
			lines = append(lines, wins(f, c, ours, r))
		}
	}
	if !behind {
		lines = append(lines, fmt.Sprintf("No peer is ahead of %s.", name))
	}
	return lines
}

// wins says that a peer is ahead of Tidemark's first way, and whether another way is not behind.
func wins(f field, c *contender, ours []*contender, ahead spread) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s wins%s**", c.name(f.work.Kind), caveat(c))
	if ahead.min <= 1 {
		b.WriteString(", but not in every round")
	}
	fmt.Fprintf(&b, ": it does %s times what %s does", ratio(ahead), ours[0].name(f.work.Kind))
	for _, own := range ours[1:] {
		if r, rounds := own.ratio(c); rounds > 0 && r.median > 1 {
			fmt.Fprintf(&b, "; %s does %s times what it does", own.name(f.work.Kind), ratio(r))
		}
	}
	return b.String() + "."
}

// caveat is what a winner does not do.
func caveat(c *contender) string {
	switch {
	case c.system.NotDurable:
		return ", not being durable"
	case c.system.Nodes == 1:
		return ", having no replica"
	default:
		return ""
	}
}
