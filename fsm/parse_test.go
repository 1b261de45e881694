package fsm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"tidemark"
)

// parseEntries reads the input of the directive apply.
func parseEntries(t *testing.T, input string) []tidemark.Entry {
	t.Helper()
	p := parser{t: t}
	for line := range strings.Lines(input) {
		p.line(strings.Fields(line))
	}
	p.flush()
	return p.entries
}

type parser struct {
	t        *testing.T
	entries  []tidemark.Entry
	time     tidemark.Time
	open     bool // the last entry takes commands
	commands [][]byte
	batch    *AppendBatch
}

func (p *parser) line(words []string) {
	switch words[0] {
	case "entry":
		p.flush()
		e := p.entry(words[1], tidemark.EntryCommands)
		p.time = tidemark.Time(p.number(strings.TrimPrefix(words[2], "t=")))
		p.entries, p.open = append(p.entries, e), true
	case "members":
		p.flush()
		e := p.entry(words[1], tidemark.EntryMembership)
		e.Data = []byte(words[2])
		p.entries = append(p.entries, e)
	case "append":
		p.command(p.append(words).Encode())
	case "batch":
		p.endBatch()
		p.batch = &AppendBatch{}
	case "item":
		p.batch.Items = append(p.batch.Items, p.append(words))
	case "ack":
		p.command(p.ack(words).Encode())
	case "noop":
		p.command(Noop{}.Encode())
	default:
		p.t.Fatalf("cannot read %q", words)
	}
}

func (p *parser) entry(at string, kind tidemark.EntryKind) tidemark.Entry {
	index, term, _ := strings.Cut(at, "/")
	return tidemark.Entry{Index: uint64(p.number(index)), Term: uint64(p.number(term)), Kind: kind}
}

func (p *parser) command(encoded []byte) {
	p.endBatch()
	p.commands = append(p.commands, encoded)
}

func (p *parser) endBatch() {
	if p.batch != nil {
		p.commands = append(p.commands, p.batch.Encode())
		p.batch = nil
	}
}

// flush ends the commands of the last entry.
func (p *parser) flush() {
	p.endBatch()
	if p.open {
		p.entries[len(p.entries)-1].Data = EncodeEntry(p.time.Go(), p.commands)
	}
	p.open, p.commands = false, nil
}

func (p *parser) append(words []string) Append {
	a := Append{Draft: draft(p.text(words[1]), p.text(words[2]), p.text(words[3]))}
	attributes := make(map[string]string)
	for _, option := range words[4:] {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "sender":
			a.Draft.Sender = p.text(value)
		case "type":
			a.Draft.Type = p.text(value)
		case "client":
			a.Draft.ClientTime = tidemark.Time(p.number(value))
		case "expect":
			a.Expected = seq(uint64(p.number(value)))
		default:
			attributes[key] = p.text(value)
		}
	}
	a.Draft.Attributes = tidemark.AttributesFromMap(attributes)
	return a
}

func (p *parser) ack(words []string) Ack {
	a := Ack{Reader: tidemark.ReaderID(p.text(words[1]))}
	for _, word := range words[2:] {
		parts := strings.Split(word, ":")
		item := AckItem{Timeline: tidemark.TimelineID(p.text(parts[0]))}
		if parts[1] != "" {
			item.Delivered = seq(uint64(p.number(parts[1])))
		}
		if parts[2] != "" {
			item.Read = seq(uint64(p.number(parts[2])))
		}
		a.Items = append(a.Items, item)
	}
	return a
}

// text unquotes what is quoted, and repeats what is followed by x and a number.
func (p *parser) text(word string) string {
	times := 1
	if i := strings.LastIndexByte(word, 'x'); i > 0 {
		if n, err := strconv.Atoi(word[i+1:]); err == nil {
			word, times = word[:i], n
		}
	}
	if strings.HasPrefix(word, `"`) {
		unquoted, err := strconv.Unquote(word)
		if err != nil {
			p.t.Fatal(fmt.Errorf("%s: %w", word, err))
		}
		word = unquoted
	}
	return strings.Repeat(word, times)
}

func (p *parser) number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}
