package rpc

import (
	"context"
	"errors"
	"time"

	"tidemark"
	"tidemark/fsm"
	"tidemark/internal/planted"
)

// DefaultRetentionInterval is how often a leader looks what its policies let go.
const DefaultRetentionInterval = time.Minute

const (
	// trimPause is how long the leader waits after each trim, which takes a few
	// milliseconds to apply: appends have the log for themselves most of the time.
	trimPause = 50 * time.Millisecond
	// trimTimeout bounds one trim.
	trimTimeout = 10 * time.Second
)

// retain has the leader trim by the policies, until the server stops. Replicas trim what
// the leader's commands say, and so the same, whatever their clocks say. A policy that was
// changed meanwhile is looked at before each timeline.
func (s *Server) retain() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		if !pause(ctx, s.RetentionInterval) {
			return
		}
		if !s.Node.IsLeader() || s.Store.Level() < policyLevel {
			continue
		}
		if err := s.retainChanges(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("trimming the change feed was given up for now", "error", err)
		}
		if err := s.retainOnce(ctx); err != nil && ctx.Err() == nil {
			s.Logger.Warn("trimming by the retention policies was given up for now", "error", err)
		}
	}
}

// retainOnce trims all timelines for which there is a policy.
func (s *Server) retainOnce(ctx context.Context) error {
	policies, _, err := s.Store.Policies()
	if err != nil {
		return err
	}
	for i := range policies {
		prefix := policies[i].Prefix
		if err := s.eachTimeline(prefix, func(id tidemark.TimelineID) error {
			if holds := tidemark.LongestPolicy(policies, id); holds.Prefix != prefix {
				return ctx.Err() // it has its turn with that one
			}
			return s.retainTimeline(ctx, id)
		}); err != nil {
			return err
		}
	}
	return nil
}

// retainTimeline trims one timeline by the policy that holds for it now.
func (s *Server) retainTimeline(ctx context.Context, id tidemark.TimelineID) error {
	for ctx.Err() == nil {
		policies, _, err := s.Store.Policies()
		if err != nil {
			return err
		}
		policy := tidemark.LongestPolicy(policies, id)
		if policy == nil {
			return nil
		}
		first, head, err := s.Store.TrimPoint(id, policy, timeOf(s.Clock()))
		if errors.Is(err, tidemark.ErrTimelineNotFound) {
			return nil
		}
		if err != nil || first <= head.First {
			return err
		}
		if planted.Is(planted.TrimOneTooFar) && first <= head.Last {
			first++
		}
		if err := s.trimOnce(ctx, id, min(first, head.First+tidemark.MaxTrimMessages)); err != nil {
			return err
		}
		pause(ctx, trimPause)
	}
	return ctx.Err()
}

// trimOnce proposes one trim. What the policy lets go now it lets go also when the command
// is applied, since messages only get older, and newer ones only more, unless a rewind, a
// new reader or another policy comes in between.
func (s *Server) trimOnce(ctx context.Context, id tidemark.TimelineID, first tidemark.SeqID) error {
	ctx, cancel := context.WithTimeout(ctx, trimTimeout)
	defer cancel()
	result, _, err := propose[fsm.TrimResult](ctx, s, fsm.Trim{Timeline: id, First: first}.Encode())
	if err == nil && !errors.Is(result.Err, tidemark.ErrTimelineNotFound) {
		err = result.Err
	}
	return err
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
