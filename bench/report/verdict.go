package report

import "fmt"

// verdicts say of a work which peers win, and how near Tidemark comes to its ceiling.
func verdicts(f field) []string {
	ours := f.ours()
	if len(ours) == 0 || len(ours[0].runs) == 0 {
		return nil
	}
	reference := ours[0]
	name := reference.name(f.work.Kind)
	var lines []string
	for _, c := range f.contenders {
		if c.system.Ours {
			continue
		}
		r, rounds := c.ratio(reference)
		switch {
		case rounds == 0:
		case c.system.Ceiling:
			own, _ := reference.ratio(c)
			lines = append(lines, fmt.Sprintf("%s does %.0f %% (%.0f–%.0f %%) of what its ceiling does.", name, 100*own.median, 100*own.min, 100*own.max))
		case r.min > 1:
			lines = append(lines, fmt.Sprintf("**%s wins%s**: it does %s times what %s does.", c.name(f.work.Kind), caveat(c), ratio(r), name))
		case r.median > 1:
			lines = append(lines, fmt.Sprintf("**%s is ahead%s**, but not in every round: it does %s times what %s does.", c.name(f.work.Kind), caveat(c), ratio(r), name))
		}
	}
	for _, c := range f.contenders {
		if r, rounds := c.ratio(reference); rounds > 0 && r.median > 1 && !c.system.Ours && !c.system.Ceiling {
			return lines
		}
	}
	return append(lines, fmt.Sprintf("No peer is ahead of %s.", name))
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
