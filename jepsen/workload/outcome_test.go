package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
	"tidemark/client"
	"tidemark/jepsen/history"
)

// What is not known is never recorded as known.
func TestOutcomesOfWrites(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   history.Outcome
		reason string
	}{
		{nil, history.OK, ""},
		{&client.UnknownOutcomeError{}, history.Unknown, "OUTCOME_UNKNOWN"},
		{fmt.Errorf("append: %w", errors.Join(tidemark.ErrOutcomeUnknown, context.DeadlineExceeded)), history.Unknown, "OUTCOME_UNKNOWN"},
		{fmt.Errorf("append: %w", context.DeadlineExceeded), history.Fail, "DEADLINE_EXCEEDED"},
		{tidemark.ErrMessageIDConflict, history.Fail, history.MessageIDConflict},
		{&tidemark.SequenceConflictError{Expected: 1, Last: 2}, history.Fail, history.SequenceConflict},
	} {
		if outcome, reason := writeOutcome(c.err); outcome != c.want || reason != c.reason {
			t.Errorf("%v is %s %q, want %s %q", c.err, outcome, reason, c.want, c.reason)
		}
	}
}

func TestOutcomesOfUnaryWrites(t *testing.T) {
	withReason := func(domain, reason string) error {
		st, err := status.New(codes.Unavailable, "no").WithDetails(&errdetails.ErrorInfo{Domain: domain, Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	for _, c := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.OK},
		{withReason("tidemark", "NO_LEADER"), history.Fail},
		{withReason("tidemark", "OUTCOME_UNKNOWN"), history.Unknown},
		{withReason("tidemark", "INTERNAL"), history.Unknown},
		// Only Tidemark's own word counts.
		{withReason("example.com", "NO_LEADER"), history.Unknown},
		{status.Error(codes.Unavailable, "connection reset"), history.Unknown},
		{status.Error(codes.DeadlineExceeded, "too late"), history.Unknown},
	} {
		if outcome, _ := unaryOutcome(c.err); outcome != c.want {
			t.Errorf("%v is %s, want %s", c.err, outcome, c.want)
		}
	}
}

func TestOutcomesOfReads(t *testing.T) {
	for _, c := range []struct {
		err  error
		want history.Outcome
	}{
		{nil, history.OK},
		{fmt.Errorf("read: %w", tidemark.ErrTimelineNotFound), history.OK},
		{fmt.Errorf("get: %w", tidemark.ErrMessageNotFound), history.OK},
		{tidemark.ErrNoLeader, history.Fail},
	} {
		if outcome, _ := ReadOutcome(c.err); outcome != c.want {
			t.Errorf("%v is %s, want %s", c.err, outcome, c.want)
		}
	}
}

func TestOutcomeOfABatch(t *testing.T) {
	for _, c := range []struct {
		items []history.Outcome
		want  history.Outcome
	}{
		{[]history.Outcome{history.OK, history.OK}, history.OK},
		{[]history.Outcome{history.OK, history.Fail}, history.OK},
		{[]history.Outcome{history.Fail, history.Fail}, history.Fail},
		{[]history.Outcome{history.Fail, history.Unknown}, history.Unknown},
		{[]history.Outcome{history.OK, history.Unknown}, history.Unknown},
	} {
		op := &history.Operation{}
		for _, o := range c.items {
			op.Items = append(op.Items, history.Item{Outcome: o})
		}
		if got := together(op); got != c.want {
			t.Errorf("a batch of %v is %s, want %s", c.items, got, c.want)
		}
	}
}

func TestBoard(t *testing.T) {
	b := NewBoard(2, 3)
	if n := len(b.Timelines()); n != 5 {
		t.Errorf("there are %d timelines, want 5", n)
	}
	random := rand.New(rand.NewPCG(1, 1))
	hot := 0
	for range 1000 {
		if name := b.choose(random); name == "hot/1" || name == "hot/2" {
			hot++
		}
	}
	if hot < 500 || hot > 700 {
		t.Errorf("of 1000 choices %d are hot, want about 600", hot)
	}
	b.reached("hot/1", 7)
	b.reached("hot/1", 3)
	if last := b.last("hot/1"); last != 7 {
		t.Errorf("last is %d, want 7", last)
	}
	if _, ok := b.recent("hot/1", random); ok {
		t.Error("there is a draft before one was sent")
	}
	for i := range 3 * keptPerTimeline {
		b.sent(client.Draft{Timeline: "hot/1", ID: tidemark.MessageID(fmt.Sprint(i))})
	}
	if _, ok := b.recent("hot/1", random); !ok || len(b.known["hot/1"].recent) != keptPerTimeline {
		t.Errorf("%d drafts are kept, want %d", len(b.known["hot/1"].recent), keptPerTimeline)
	}
}

func TestNamed(t *testing.T) {
	all, err := Named()
	if err != nil || len(all) != len(All()) {
		t.Errorf("no names are %d workloads (%v)", len(all), err)
	}
	one, err := Named("race")
	if err != nil || len(one) != 1 || one[0].Name() != "race" {
		t.Errorf("race is %v (%v)", one, err)
	}
	if _, err := Named("walk"); err == nil {
		t.Error("there is a workload walk")
	}
}
