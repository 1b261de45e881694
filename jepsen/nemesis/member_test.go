//go:build linux

package nemesis

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A change of members that was begun is brought to its end when the run ends, and
// given up only after a time of its own.
func TestAChangeOfMembersIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		err := askUntilDone(ctx, func(ctx context.Context) error {
			attempts++
			cancel()
			if attempts < 3 {
				return errors.New("outcome is unknown")
			}
			return ctx.Err()
		})
		if err != nil || attempts != 3 {
			t.Errorf("after %d attempts: %v", attempts, err)
		}
		begun := time.Now()
		never := errors.New("there is no leader")
		if err := askUntilDone(ctx, func(context.Context) error { return never }); !errors.Is(err, never) || time.Since(begun) != changeTimeout {
			t.Errorf("it was given up after %v: %v", time.Since(begun), err)
		}
	})
}
