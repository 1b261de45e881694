// Package growth shows what package bench found about growth: tables in a Markdown file, whose
// other text is written by hand, and plots beside it.
package growth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tidemark/cmd/tidemark/internal/bench"
)

// Origin says how something was measured, and when.
type Origin struct {
	Version string    `json:"version"`
	Command string    `json:"command"`
	Started time.Time `json:"started"`
}

// record is the last that was measured of a dimension.
type record struct {
	Origin
	bench.GrowthDimension
}

// Publish writes tables and plots of the dimensions into the Markdown file. What is known of
// others stays: it is kept in a directory beside, which has the name of the file without
// .md, together with the plots.
func Publish(file string, dimensions []bench.GrowthDimension, origin Origin) error {
	dir := strings.TrimSuffix(file, ".md")
	if dir == file {
		return fmt.Errorf("%s does not end in .md", file)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	records, err := keep(filepath.Join(dir, "measured.json"), dimensions, origin)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("# Growth\n"), nil
	}
	if err != nil {
		return err
	}
	page := string(text)
	for i := range records {
		r := &records[i]
		plot := r.Name + ".svg"
		if err := os.WriteFile(filepath.Join(dir, plot), []byte(draw(r)), 0o644); err != nil {
			return err
		}
		page = replace(page, r.Name, section(r, filepath.Base(dir)+"/"+plot))
	}
	return os.WriteFile(file, []byte(page), 0o644)
}

// keep puts the dimensions among those in the file, and returns all.
func keep(file string, dimensions []bench.GrowthDimension, origin Origin) (records []record, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &records)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, d := range dimensions {
		records = slices.DeleteFunc(records, func(r record) bool { return r.Name == d.Name })
		records = append(records, record{origin, d})
	}
	order := bench.GrowthDimensions()
	slices.SortFunc(records, func(a, b record) int { return slices.Index(order, a.Name) - slices.Index(order, b.Name) })
	if len(dimensions) == 0 {
		return records, nil
	}
	if text, err = json.MarshalIndent(records, "", " "); err != nil {
		return nil, err
	}
	return records, os.WriteFile(file, append(text, '\n'), 0o644)
}

// replace puts the section between the marks of a dimension, or both at the end.
func replace(page, name, section string) string {
	begin, end := "<!-- measured: "+name+" -->\n", "<!-- end of "+name+" -->\n"
	before, rest, found := strings.Cut(page, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		before, after = strings.TrimRight(page, "\n")+"\n\n## "+strings.ToUpper(name[:1])+name[1:]+"\n\n", ""
	}
	return before + begin + section + end + after
}

// section has everything about a dimension.
func section(r *record, plot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n![growing %s](%s)\n", r.Name, plot)
	for _, t := range r.Tables() {
		_, title, _ := strings.Cut(t.Title, ": ")
		fmt.Fprintf(&b, "\n%s%s:\n\n", strings.ToUpper(title[:1]), title[1:])
		row(&b, heads(t.Head))
		rule := make([]string, len(t.Head))
		for i := range rule {
			if rule[i] = "---"; i >= t.Numbers {
				rule[i] = "--:"
			}
		}
		row(&b, rule)
		for _, cells := range t.Rows {
			row(&b, cells)
		}
	}
	var settings []string
	for _, s := range r.Settings() {
		settings = append(settings, s.Name+": "+s.Value)
	}
	fmt.Fprintf(&b, "\n%s, commit %s; %s.\n\n    %s\n\n", r.Started.UTC().Format(time.DateOnly), r.Version, strings.Join(settings, "; "), r.Command)
	return b.String()
}

// heads are what stands above columns, not as loud as in a terminal.
func heads(shouted []string) []string {
	out := make([]string, len(shouted))
	for i, text := range shouted {
		out[i] = strings.ReplaceAll(strings.ToLower(text), "cpu", "CPU")
	}
	return out
}

func row(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}
