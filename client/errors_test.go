package client_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
	"tidemark/client"
)

// TestEveryReasonIsUnderstood holds the client against the table of docs/errors.md:
// every reason is known, and taken for what the table says was done.
func TestEveryReasonIsUnderstood(t *testing.T) {
	table, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([A-Z_]+) \\|.*\\| (nothing|unknown)[^|]*\\| (no|yes|elsewhere|same id)[^|]*\\|$")
	known := client.Reasons()
	rows := row.FindAllStringSubmatch(string(table), -1)
	for _, match := range rows {
		reason, done, retry := match[1], match[3], match[4]
		want := "not applied"
		switch {
		case done == "unknown":
			want = "unknown"
		case retry == "no":
			want = "final"
		}
		if known[reason] != want {
			t.Errorf("%s is taken for %q, and the table says %q", reason, known[reason], want)
		}
		delete(known, reason)
	}
	for reason := range known {
		t.Errorf("%s is not in the table", reason)
	}
	if len(rows) < 20 {
		t.Errorf("the table has %d rows that can be read", len(rows))
	}
}

// TestReasonsBecomeWords: errors.Is finds the root package's errors.
func TestReasonsBecomeWords(t *testing.T) {
	c := newCluster(t, 1)
	cl := dial(t, c.endpoints())
	for reason, word := range map[string]error{
		"MESSAGE_ID_CONFLICT": tidemark.ErrMessageIDConflict,
		"BATCH_ABORTED":       tidemark.ErrBatchAborted,
		"TIMELINE_NOT_FOUND":  tidemark.ErrTimelineNotFound,
		"MESSAGE_NOT_FOUND":   tidemark.ErrMessageNotFound,
		"MEMBER_EXISTS":       tidemark.ErrMemberExists,
		"MEMBER_NOT_FOUND":    tidemark.ErrMemberNotFound,
		"MEMBER_NOT_READY":    tidemark.ErrMemberNotReady,
		"MEMBERSHIP_UNSAFE":   tidemark.ErrMembershipUnsafe,
		"INVALID_ARGUMENT":    tidemark.ErrInvalid,
		"SEQUENCE_CONFLICT":   tidemark.ErrSequenceConflict,
	} {
		c.nodes[0].script("GetTimeline", fault{skip: true, err: reasoned(codes.Unknown, reason, 0)})
		if _, err := cl.Timeline(testContext(t), "conv/1"); !errors.Is(err, word) {
			t.Errorf("%s became %v", reason, err)
		}
	}
	for reason, word := range map[string]error{
		"NO_LEADER":     tidemark.ErrNoLeader,
		"STOPPING":      tidemark.ErrStopping,
		"STALE":         tidemark.ErrStale,
		"NOT_CAUGHT_UP": tidemark.ErrNotCaughtUp,
		"OVERLOADED":    tidemark.ErrOverloaded,
		"DISK_FULL":     tidemark.ErrDiskFull,
	} {
		c.nodes[0].setDeny(reasoned(codes.Unavailable, reason, 0))
		ctx, cancel := context.WithCancel(testContext(t))
		go func() {
			before := c.nodes[0].count("GetTimeline")
			for c.nodes[0].count("GetTimeline") < before+2 {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if _, err := cl.Timeline(ctx, "conv/1"); !errors.Is(err, word) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s became %v", reason, err)
		}
		cancel()
	}
}
