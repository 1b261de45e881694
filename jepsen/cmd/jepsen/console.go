//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"tidemark/jepsen/run"
)

// plainInterval is how often a console that is no terminal gets a line.
const plainInterval = 10 * time.Second

// console shows progress: on one line that is written over in a terminal, and
// otherwise on a line now and then. Its methods are called one at a time.
type console struct {
	out      *os.File
	terminal bool
	last     time.Time
	phase    run.Phase
}

func newConsole(out *os.File) *console {
	return &console{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

func (c *console) show(p run.Progress) {
	if !c.terminal && p.Phase == c.phase && time.Since(c.last) < plainInterval {
		return
	}
	c.last, c.phase = time.Now(), p.Phase
	now := "calm"
	if len(p.Faults) > 0 {
		now = strings.Join(p.Faults, ", ")
	}
	text := fmt.Sprintf("%4ds %-9s %8d appended %7d ok %6d failed %5d unknown  fault %d: %s",
		int(p.Elapsed.Seconds()), p.Phase, p.Acknowledged, p.OK, p.Failed, p.Unknown, p.Injected, now)
	if !c.terminal {
		fmt.Fprintln(c.out, text)
		return
	}
	if width, _, err := term.GetSize(int(c.out.Fd())); err == nil && len(text) >= width {
		text = text[:max(0, width-1)]
	}
	fmt.Fprintf(c.out, "\r\x1b[K%s", text)
}

// end leaves the line.
func (c *console) end() {
	if c.terminal {
		fmt.Fprintln(c.out)
	}
}
