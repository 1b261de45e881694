package peer

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusalsDoNotFloodTheLog: strangers can be refused as often as they like.
func TestRefusalsDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := refusalLog{logger: slog.New(slog.NewTextHandler(&out, nil))}
		for range 1000 {
			l.log(Refusal{Peer: "n9", Inbound: true, Reason: ReasonNotMember, Detail: "who?"})
		}
		l.log(Refusal{Peer: "n2", Reason: ReasonNotMember})
		if n := strings.Count(out.String(), "\n"); n != 2 {
			t.Errorf("%d lines for one reason in each direction:\n%s", n, out.String())
		}
		time.Sleep(refusalLogInterval)
		l.log(Refusal{Inbound: true, Reason: ReasonNotMember})
		if !strings.Contains(out.String(), "omitted=999") {
			t.Errorf("the log does not say what it left out:\n%s", out.String())
		}
		for r := range 256 {
			l.log(Refusal{Reason: Reason(r)})
		}
		if len(l.seen) > 2*int(reasonCount)+2 {
			t.Errorf("%d counters for reasons that another node makes up", len(l.seen))
		}
	})
}
