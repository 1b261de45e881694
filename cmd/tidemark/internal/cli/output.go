package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// The values of --output.
const (
	// outputTable is for people: columns, with what a terminal would obey escaped.
	outputTable = "table"
	// outputJSON is one JSON value, indented.
	outputJSON = "json"
	// outputJSONLines is one JSON object a line, one line for each item.
	outputJSONLines = "jsonl"
)

// printOne prints one thing.
func (a *app) printOne(value any, asTable func(*table)) error {
	if a.global.output == outputTable {
		return a.printTable(asTable)
	}
	return a.printJSON(value)
}

// printList prints many things; whole is what stands around them in JSON.
func printList[T any](a *app, whole any, items []T, asTable func(*table)) error {
	switch a.global.output {
	case outputTable:
		return a.printTable(asTable)
	case outputJSON:
		return a.printJSON(whole)
	}
	for _, item := range items {
		if err := a.printJSON(item); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printJSON(value any) error {
	if a.global.output != outputJSON {
		return a.printJSONLine(value)
	}
	encoder := newEncoder(a.Out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printJSONLine is for what comes one by one without an end.
func (a *app) printJSONLine(value any) error { return newEncoder(a.Out).Encode(value) }

func newEncoder(out io.Writer) *json.Encoder {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder
}

func (a *app) printTable(fill func(*table)) error {
	t := newTable(a.Out)
	fill(t)
	return t.writer.Flush()
}

// table aligns columns. Errors of its writer show when it is flushed.
type table struct{ writer *tabwriter.Writer }

func newTable(out io.Writer) *table {
	return &table{tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.DiscardEmptyColumns)}
}

// row adds a row. It escapes what is not printable: messages come from strangers,
// and a terminal obeys control characters.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = printable(cellText(cell))
	}
	fmt.Fprintln(t.writer, strings.TrimRight(strings.Join(texts, "\t"), "\t"))
}

func cellText(cell any) string {
	switch cell := cell.(type) {
	case time.Time:
		if cell.IsZero() {
			return "-"
		}
		return cell.UTC().Format("2006-01-02T15:04:05.000Z")
	case *time.Time:
		if cell == nil {
			return "-"
		}
		return cellText(*cell)
	}
	return fmt.Sprint(cell)
}

// printable escapes every rune that is neither a letter, mark, number,
// punctuation, symbol nor space.
func printable(text string) string {
	if strings.IndexFunc(text, unprintable) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unprintable(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// byteText renders a number of bytes for people.
func byteText(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, suffix := float64(n), -1
	for value >= unit && suffix < len("KMGTPE")-1 {
		value /= unit
		suffix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[suffix])
}
