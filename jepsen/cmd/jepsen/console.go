//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"tidemark/jepsen/run"
)

// How often a console that is no terminal gets a line of each run: plainInterval if
// there is one run at a time, and sharedInterval if there are several.
const (
	plainInterval  = 10 * time.Second
	sharedInterval = 30 * time.Second
)

// console shows the progress of one run: on one line that is written over in a
// terminal, and otherwise on a line now and then. Its methods are called one at a time.
type console struct {
	out      *os.File
	terminal bool
	interval time.Duration
	// name begins each line if several runs share the output, and shared keeps their
	// lines apart. Nil if there is one run at a time.
	name   string
	shared *sync.Mutex
	last   time.Time
	phase  run.Phase
}

func newConsole(out *os.File) *console {
	return &console{out: out, terminal: term.IsTerminal(int(out.Fd())), interval: plainInterval}
}

// newSharedConsole makes the console of one of several runs.
func newSharedConsole(out *os.File, name string, shared *sync.Mutex) *console {
	return &console{out: out, name: name, shared: shared, interval: sharedInterval}
}

func (c *console) show(p run.Progress) {
	if !c.terminal && p.Phase == c.phase && time.Since(c.last) < c.interval {
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
		c.say(text)
		return
	}
	if width, _, err := term.GetSize(int(c.out.Fd())); err == nil && len(text) >= width {
		text = text[:max(0, width-1)]
	}
	fmt.Fprintf(c.out, "\r\x1b[K%s", text)
}

// say prints a line.
func (c *console) say(text string) {
	if c.shared != nil {
		c.shared.Lock()
		defer c.shared.Unlock()
		text = fmt.Sprintf("%-22s %s", c.name, text)
	}
	fmt.Fprintln(c.out, text)
}

// end leaves the line.
func (c *console) end() {
	if c.terminal {
		fmt.Fprintln(c.out)
	}
}
