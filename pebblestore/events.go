package pebblestore

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidemark"
)

// backgroundErrorLogEvery bounds how often failing flushes are logged: Pebble
// tries a failed one again at once, thousands of times a second on a full disk.
const backgroundErrorLogEvery = time.Second

// events counts what Pebble only tells, over all generations of a store.
type events struct {
	options *Options
	log     *slog.Logger

	backgroundErrors atomic.Uint64
	corruptions      atomic.Uint64
	writeStalls      atomic.Uint64
	diskSlow         atomic.Uint64
	stalledNanos     atomic.Int64
	stallBegan       atomic.Int64
	lastLogged       atomic.Int64
}

// fatal does not return.
func (e *events) fatal(message string) { e.options.fatal(message) }

func (e *events) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: e.backgroundError,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			e.corruptions.Add(1)
			e.log.Error("damaged file in the store", "file", info.Path, "error", info.Details)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			e.writeStalls.Add(1)
			e.stallBegan.Store(time.Now().UnixNano())
			e.log.Warn("writes to the store wait", "reason", info.Reason)
		},
		WriteStallEnd: func() {
			took := time.Now().UnixNano() - e.stallBegan.Load()
			e.stalledNanos.Add(took)
			e.log.Info("writes to the store go on", "waited", time.Duration(took))
		},
	}
}

func (e *events) backgroundError(err error) {
	e.backgroundErrors.Add(1)
	err = wrapPebble(err)
	if e.options.OnBackgroundError != nil {
		e.options.OnBackgroundError(err)
	}
	now, last := time.Now().UnixNano(), e.lastLogged.Load()
	if now-last < int64(backgroundErrorLogEvery) || !e.lastLogged.CompareAndSwap(last, now) {
		return
	}
	e.log.Error("background work of the store failed and is tried again", "error", err, "failures", e.backgroundErrors.Load())
}

func (e *events) slow(info vfs.DiskSlowInfo) {
	e.diskSlow.Add(1)
	e.log.Warn("disk is slow", "file", info.Path, "operation", info.OpType.String(), "took", info.Duration)
	if e.options.OnDiskSlow != nil {
		e.options.OnDiskSlow(info.Path, info.Duration)
	}
}

// pebbleLogger passes on what Pebble says. Its Fatalf never returns: after it,
// Pebble would go on with what it just declared broken.
type pebbleLogger struct{ events *events }

func (l *pebbleLogger) Infof(format string, args ...any) {
	l.events.log.Debug(fmt.Sprintf(format, args...))
}

func (l *pebbleLogger) Errorf(format string, args ...any) {
	l.events.log.Error(fmt.Sprintf(format, args...))
}

func (l *pebbleLogger) Fatalf(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	for _, arg := range args {
		if err, ok := arg.(error); ok && isDiskFull(err) {
			message = tidemark.ErrDiskFull.Error() + ": " + message
			break
		}
	}
	l.events.fatal(message)
}

// guard ends the process by Options.Fatal when f panics: Pebble panics on the
// caller's goroutine, with its locks held, when its log cannot be written.
func (e *events) guard(doing string, f func() error) error {
	defer func() {
		reason := recover()
		if reason == nil {
			return
		}
		err, ok := reason.(error)
		if _, bug := reason.(runtime.Error); !ok || bug {
			panic(reason)
		}
		e.fatal(fmt.Sprintf("%s: %v", doing, wrapFull(err)))
	}()
	return f()
}
