//go:build linux

package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"tidemark/jepsen/checker"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
	"tidemark/jepsen/nemesis"
)

const (
	// logTimeout is how long it may take to read the log of one node.
	logTimeout = 30 * time.Second
	// hashDigits is how much of an entry's hash is kept: 64 bits tell entries apart that
	// differ by a mistake, and there are millions of them.
	hashDigits = 16
)

// logs reads the Raft logs of nodes while they do not run, by the program's own
// `log` command. Nodes cut the front of their logs all the time, so a log is read
// after each end of its node's process.
type logs struct {
	binary string
	// env is what nodes have beside the environment of this process.
	env      []string
	recorder *history.Recorder

	mu sync.Mutex
	// shown is each node's log as it was when it was last read, without gaps. An entry
	// that is in it was recorded before: a node's log never gets back what it lost, but
	// from another node, and few of those. So memory is bounded by what nodes keep.
	shown map[host.NodeID][]history.LogEntry
	// unread are the logs that could not be read.
	unread []unreadLog
}

type unreadLog struct {
	node host.NodeID
	at   time.Time
	err  error
}

func newLogs(binary string, env []string, recorder *history.Recorder) *logs {
	return &logs{binary: binary, env: env, recorder: recorder, shown: map[host.NodeID][]history.LogEntry{}}
}

// read records what is new in the log of a node that does not run. Once ctx has
// ended it does nothing.
func (l *logs) read(ctx context.Context, n host.Node) {
	// A node that was stopped at once, or whose directory was moved aside, has none.
	if _, err := os.Stat(filepath.Join(n.DataDir(), "NODE")); errors.Is(err, fs.ErrNotExist) {
		return
	}
	at := time.Now()
	entries, err := l.list(ctx, n)
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.unread = append(l.unread, unreadLog{n.ID(), at, err})
		return
	}
	l.recorder.Log(added(l.shown[n.ID()], entries)...)
	l.shown[n.ID()] = entries
}

// list runs the command.
func (l *logs) list(ctx context.Context, n host.Node) ([]history.LogEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, logTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.binary, "log", "--data-dir", n.DataDir(), "--output", "jsonl")
	cmd.Env = append(os.Environ(), l.env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	entries, err := parseLog(string(n.ID()), out)
	if err != nil {
		// The command may wait for a reader of the rest.
		cancel()
	}
	if ended := cmd.Wait(); ended != nil {
		return nil, fmt.Errorf("%w: %s", errors.Join(ended, err), strings.TrimSpace(said.String()))
	}
	return entries, err
}

// parseLog reads what the command printed.
func parseLog(node string, out io.Reader) ([]history.LogEntry, error) {
	var entries []history.LogEntry
	for decoder := json.NewDecoder(out); ; {
		var printed struct {
			Index, Term uint64
			SHA256      string
		}
		switch err := decoder.Decode(&printed); {
		case err == io.EOF:
			return entries, nil
		case err != nil:
			return nil, err
		case printed.Index == 0 || printed.Term == 0 || len(printed.SHA256) < hashDigits:
			return nil, fmt.Errorf("entry number %d of the log is %+v", len(entries)+1, printed)
		}
		e := history.LogEntry{Node: node, Index: printed.Index, Term: printed.Term, Hash: printed.SHA256[:hashDigits]}
		if len(entries) > 0 {
			last := &entries[len(entries)-1]
			if e.Index != last.Index+1 {
				return nil, fmt.Errorf("entry %d follows entry %d in the log", e.Index, last.Index)
			}
			e.PreviousTerm = last.Term
		}
		entries = append(entries, e)
	}
}

// added are the entries that are not in the log as it was before.
func added(before, now []history.LogEntry) []history.LogEntry {
	var fresh []history.LogEntry
	for _, e := range now {
		if len(before) > 0 && e.Index >= before[0].Index && e.Index-before[0].Index < uint64(len(before)) {
			old := before[e.Index-before[0].Index]
			if old.Term == e.Term && old.Hash == e.Hash && (e.PreviousTerm == 0 || old.PreviousTerm == e.PreviousTerm) {
				continue
			}
		}
		fresh = append(fresh, e)
	}
	return fresh
}

// anomalies are the logs that could not be read, but for those of nodes whose files
// had been damaged on purpose: what a disk lost stays lost.
func (l *logs) anomalies(h *history.History) []checker.Anomaly {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []checker.Anomaly
	for _, u := range l.unread {
		at := u.at.Sub(h.Meta.Started)
		if corrupted(h.Faults, string(u.node), at) {
			continue
		}
		list = append(list, checker.Anomaly{
			Checker: "log-unread",
			Summary: fmt.Sprintf("the log of %s could not be read after %v: %v", u.node, at.Round(time.Millisecond), u.err),
		})
	}
	return list
}

// corrupted reports whether files of the node had been damaged on purpose before.
func corrupted(faults []history.Fault, node string, at time.Duration) bool {
	return slices.ContainsFunc(faults, func(f history.Fault) bool {
		return nemesis.Corrupts(f.Name) && slices.Contains(strings.Fields(f.Target), node) && at >= f.From
	})
}
