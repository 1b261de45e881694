package client

import "context"

type pipeline struct {
	ended chan struct{}
}

func newPipeline(c *Client) *pipeline                                  { return &pipeline{ended: make(chan struct{})} }
func (p *pipeline) run()                                               { close(p.ended) }
func (p *pipeline) close()                                             {}
func (p *pipeline) submit(ctx context.Context, pending *Pending) error { panic("unfinished") }
func (p *pipeline) abandon(pending *Pending, cause error)              {}
func (p *pipeline) watchedBy(pending *Pending, stop func() bool)       {}
