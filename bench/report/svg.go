package report

import (
	"fmt"
	"html"
	"strings"
)

// The colours: blue is Tidemark, pale where it is not driven in its first way, grey its
// ceiling, and sand the others, which a plot of lines tells apart by curveColours.
const (
	blue   = "#1f5fbf"
	pale   = "#7aa7e6"
	grey   = "#9aa3ad"
	sand   = "#d9a441"
	ink    = "#1d2329"
	faint  = "#e3e7ec"
	nearby = "#5b6570"
)

// drawing is an SVG in the making.
type drawing struct{ b strings.Builder }

// text writes a line; anchor is start, middle or end.
func (d *drawing) text(x, y float64, size int, anchor, colour, text string) {
	fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, size, anchor, colour, html.EscapeString(text))
}

func (d *drawing) line(x1, y1, x2, y2, width float64, colour string) {
	fmt.Fprintf(&d.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%.1f"/>`+"\n", x1, y1, x2, y2, colour, width)
}

// bar is hollow if what it stands for is not durable.
func (d *drawing) bar(x, y, width, height float64, colour string, hollow bool) {
	if hollow {
		fmt.Fprintf(&d.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="none" stroke="%s" stroke-dasharray="4 3"/>`+"\n", x, y, width, height, colour)
		return
	}
	fmt.Fprintf(&d.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, colour)
}

// finish returns the whole file.
func (d *drawing) finish(width, height float64) string {
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="system-ui, sans-serif">
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, width, height, width, height, d.b.String())
}

// plain is a label without Markdown.
func plain(label string) string { return strings.ReplaceAll(label, "`", "") }
