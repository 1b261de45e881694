package cli

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"tidemark/client"
)

func messageRows(t *table, messages []client.Message) {
	t.row("SEQ", "SERVER TIME", "SENDER", "TYPE", "MESSAGE ID", "PAYLOAD")
	for i := range messages {
		messageRow(t, &messages[i])
	}
}

func messageRow(t *table, m *client.Message) {
	t.row(m.SeqID, m.ServerTime, m.Sender, m.Type, m.ID, payloadText(m.Payload))
}

// payloadText is the payload itself if it is text.
func payloadText(payload []byte) string {
	if !utf8.Valid(payload) {
		return fmt.Sprintf("(%d bytes)", len(payload))
	}
	return string(payload)
}

// messagePrinter prints any number of messages without holding them.
type messagePrinter struct {
	app   *app
	table *table
	count int
}

// tableRows is how many rows of a long table are aligned with each other.
const tableRows = 1000

func newMessagePrinter(a *app) *messagePrinter { return &messagePrinter{app: a} }

func (p *messagePrinter) print(m *client.Message) error {
	p.count++
	if p.app.global.output == outputTable {
		if p.table == nil {
			p.table = newTable(p.app.Out)
			messageRows(p.table, nil)
		}
		messageRow(p.table, m)
		if p.count%tableRows == 0 {
			return p.table.writer.Flush()
		}
		return nil
	}
	record, err := recordOf(m)
	if err != nil {
		return err
	}
	if p.app.global.output == outputJSON {
		separator := ",\n"
		if p.count == 1 {
			separator = "[\n"
		}
		if _, err := fmt.Fprint(p.app.Out, separator); err != nil {
			return err
		}
	}
	return p.app.printJSON(record)
}

func (p *messagePrinter) close() error {
	if p.table != nil {
		return p.table.writer.Flush()
	}
	if p.app.global.output != outputJSON {
		return nil
	}
	end := "]"
	if p.count == 0 {
		end = "[]"
	}
	_, err := fmt.Fprintln(p.app.Out, end)
	return err
}

// watch runs something long. It may take any time, as long as it makes progress
// at least once in --timeout.
func (a *app) watch(ctx context.Context, f func(ctx context.Context, progress func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("%w: no progress for %v", context.DeadlineExceeded, a.global.timeout)
	watchdog := newWatchdog(a.global.timeout, func() { cancel(stalled) })
	defer watchdog.stop()
	err := f(ctx, watchdog.progress)
	if err != nil && errors.Is(context.Cause(ctx), stalled) {
		return errors.Join(stalled, err)
	}
	return err
}

// watchdog calls bark once, when there was no progress for some time.
type watchdog struct {
	limit time.Duration
	last  atomic.Int64
	timer *time.Timer
	bark  func()
}

func newWatchdog(limit time.Duration, bark func()) *watchdog {
	w := &watchdog{limit: limit, bark: bark}
	w.progress()
	w.timer = time.AfterFunc(limit, w.look)
	return w
}

// progress is cheap, and safe for concurrent use.
func (w *watchdog) progress() { w.last.Store(time.Now().UnixNano()) }

func (w *watchdog) look() {
	quiet := time.Since(time.Unix(0, w.last.Load()))
	if quiet >= w.limit {
		w.bark()
		return
	}
	w.timer.Reset(w.limit - quiet)
}

func (w *watchdog) stop() { w.timer.Stop() }
