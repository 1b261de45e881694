package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
	"tidemark/client"
)

func drafts(n int) []client.Draft {
	out := make([]client.Draft, n)
	for i := range out {
		out[i] = client.Draft{Timeline: tidemark.TimelineID(fmt.Sprint("conv/", i%2)), Payload: []byte(fmt.Sprint(i))}
	}
	return out
}

func TestAppendBatch(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendBatch", fault{cut: true}, fault{skip: true, err: reasoned(codes.Unavailable, "NO_LEADER", 0)})
	given := drafts(10)
	results, err := dial(t, c.endpoints()).AppendBatch(testContext(t), given, client.ExpectLastSeqIDOf("conv/1", 0))
	if err != nil || len(results) != 10 {
		t.Fatalf("%v, %v", results, err)
	}
	for i, r := range results {
		if r.Err != nil || r.SeqID != tidemark.SeqID(i/2+1) || r.Timeline != given[i].Timeline || r.ID == "" || !r.Duplicate {
			t.Errorf("item %d: %+v", i, r)
		}
	}
	if given[0].ID != "" {
		t.Error("the caller's drafts were changed")
	}
}

func TestAppendBatchRefusesBadItems(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	given := drafts(3)
	given[2].Timeline = ""
	var invalid *tidemark.InvalidError
	if results, err := cl.AppendBatch(testContext(t), given); results != nil || !errors.As(err, &invalid) || invalid.Field != "items[2].timeline" {
		t.Errorf("got %v, %v", results, err)
	}
	if _, err := cl.AppendBatch(testContext(t), drafts(2), client.ExpectLastSeqIDOf("other", 3)); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if n := c.nodes[0].count("AppendBatch"); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// TestAppendBatchItems: an item that failed for now is sent again, unless a later
// one of its timeline is there already; one that failed for good is not.
func TestAppendBatchItems(t *testing.T) {
	c := newCluster(t, 1)
	overloaded := fault{skip: true, err: reasoned(codes.ResourceExhausted, "OVERLOADED", 0)}
	refused := fault{skip: true, err: reasoned(codes.AlreadyExists, "MESSAGE_ID_CONFLICT", 0)}
	lost := fault{err: reasoned(codes.Unavailable, "OUTCOME_UNKNOWN", 0)}
	//                                    conv/0      conv/1   conv/0   conv/1 conv/0
	c.nodes[0].script("item", overloaded, refused, fault{}, fault{}, lost)
	results, err := dial(t, c.endpoints()).AppendBatch(testContext(t), drafts(5))
	var batch *client.BatchError
	if !errors.As(err, &batch) || batch.Failed != 2 || batch.First != 0 || !errors.Is(err, tidemark.ErrOverloaded) || !errors.Is(err, tidemark.ErrMessageIDConflict) {
		t.Fatalf("got %v", err)
	}
	if !errors.Is(results[0].Err, tidemark.ErrOverloaded) || !errors.Is(results[1].Err, tidemark.ErrMessageIDConflict) {
		t.Errorf("got %v, %v", results[0].Err, results[1].Err)
	}
	if results[2].SeqID != 1 || results[3].SeqID != 1 || results[4].SeqID != 2 || !results[4].Duplicate || results[4].Err != nil {
		t.Errorf("got %+v", results[2:])
	}
}

// TestAppendBatchUnknown: every item names the draft that settles it.
func TestAppendBatchUnknown(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].script("AppendBatch", fault{mute: true})
	cl := dial(t, c.endpoints())
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	results, err := cl.AppendBatch(ctx, drafts(2), client.Atomic())
	if !errors.Is(err, tidemark.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) || len(results) != 2 {
		t.Fatalf("got %v, %v", results, err)
	}
	for _, r := range results {
		unknown := notKnown(t, r.Err, context.DeadlineExceeded)
		if result := mustAppend(t, cl, unknown.Draft); result.SeqID != 1 || !result.Duplicate {
			t.Errorf("retry said %+v", result)
		}
	}
}

// TestAppendBatchCallFails: an error of the call is one of every item.
func TestAppendBatchCallFails(t *testing.T) {
	c := newCluster(t, 1)
	c.nodes[0].setDeny(reasoned(codes.InvalidArgument, "INVALID_ARGUMENT", 0, "field", "items", "rule", "are too many"))
	results, err := dial(t, c.endpoints()).AppendBatch(testContext(t), drafts(2))
	var invalid *tidemark.InvalidError
	if !errors.As(err, &invalid) || invalid.Field != "items" || len(results) != 2 || !errors.Is(results[1].Err, tidemark.ErrInvalid) {
		t.Errorf("got %v, %v", results, err)
	}
}
