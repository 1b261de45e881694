package cli

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressBar shows how far something long has come, if standard error is a
// terminal. Its methods are safe for concurrent use.
type progressBar struct {
	app   *app
	verb  string
	bar   *progressbar.ProgressBar
	place func() int64
	begin time.Time
	items atomic.Int64
	done  chan struct{}
	ended chan struct{}
}

// progressInterval is how often the bar is drawn.
const progressInterval = 200 * time.Millisecond

// progress starts a bar up to total, 0 if that is not known. Place says where it
// stands, in bytes; nil if it stands at the number of items.
func (a *app) progress(verb string, total int64, place func() int64) *progressBar {
	p := &progressBar{app: a, verb: verb, place: place, begin: time.Now()}
	file, ok := a.Err.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	if total == 0 {
		// The bar then shows no end.
		total = -1
	}
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(file),
		progressbar.OptionShowBytes(place != nil),
		progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(),
	)
	p.done, p.ended = make(chan struct{}), make(chan struct{})
	go p.draw()
	return p
}

func (p *progressBar) draw() {
	defer close(p.ended)
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			_ = p.bar.Finish()
			return
		case <-ticker.C:
			items := p.items.Load()
			rate := float64(items) / time.Since(p.begin).Seconds()
			p.bar.Describe(fmt.Sprintf("%s: %d messages, %.0f/s", p.verb, items, rate))
			place := items
			if p.place != nil {
				place = p.place()
			}
			// The bar is for looking at: what it cannot show is no error.
			_ = p.bar.Set64(place)
		}
	}
}

// add counts items.
func (p *progressBar) add(n int64) { p.items.Add(n) }

// say prints a line beside the bar.
func (p *progressBar) say(line string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.app.Err, printable(line))
}

// close removes the bar.
func (p *progressBar) close() {
	if p.bar != nil {
		close(p.done)
		<-p.ended
	}
}
