package system

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// noise is what payloads are cut from, so that no storage can compress them.
var noise = func() []byte {
	b := make([]byte, 1<<20)
	_, _ = crand.Read(b) // it never fails
	return b
}()

// NewPayload returns Payload bytes, which must not be changed.
func NewPayload() []byte {
	at := rand.IntN(len(noise) - Payload)
	return noise[at : at+Payload : at+Payload]
}

// NewID returns a new message id: a UUID that begins with the time, which is what suits
// indexes best and what Tidemark's SDK makes.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// AnyTimeline is the number of a random timeline.
func AnyTimeline() int { return rand.IntN(Timelines) }

// AnyPage is where a whole page begins: the number of its first message, from 1.
func AnyPage() int { return 1 + rand.IntN(Backlog-Page+1) }

// FillInBatches calls fill for all messages of the backlog, several batches at a time: for
// one message number, from 1, and the timelines from first to last.
func FillInBatches(ctx context.Context, size, parallel int, fill func(ctx context.Context, message, first, last int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for message := 1; message <= Backlog; message++ {
		for first := 0; first < Timelines; first += size {
			group.Go(func() error { return fill(ctx, message, first, min(first+size, Timelines)-1) })
		}
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("fill the timelines: %w", err)
	}
	return nil
}
