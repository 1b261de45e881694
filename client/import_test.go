package client_test

import (
	"errors"
	"fmt"
	"testing"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/rpctest"
)

// A history is the same after its import, digest by digest, also one that starts in the
// middle, and whatever is repeated; another one is refused.
func TestRealImport(t *testing.T) {
	source, target := rpctest.Start(t, 1, rpctest.Options{}), rpctest.Start(t, 3, rpctest.Options{})
	ctx := testContext(t)
	from, to := dialReal(t, source.Addresses()), dialReal(t, target.Addresses())
	for i := range 300 {
		mustAppend(t, from, client.Draft{Timeline: "conv/1", ID: tidemark.MessageID(fmt.Sprint("m", i+1)), Sender: "alice", Payload: []byte(fmt.Sprint(i))})
	}
	if _, err := from.Trim(ctx, "conv/1", 41); err != nil {
		t.Fatal(err)
	}
	page, err := from.Read(ctx, "conv/1", client.Limit(1000))
	if err != nil || len(page.Messages) != 260 {
		t.Fatal(len(page.Messages), err)
	}
	all := page.Messages
	for _, part := range [][2]int{{0, 100}, {0, 100}, {50, 200}, {200, 260}} {
		previous := page.PreviousDigest
		if part[0] > 0 {
			previous = all[part[0]-1].Digest
		}
		imported, err := to.Import(ctx, "conv/1", previous, all[part[0]:part[1]])
		if err != nil || imported.Timeline.Digest != all[part[1]-1].Digest {
			t.Fatalf("%v: %+v, %v", part, imported, err)
		}
	}
	if _, err := to.Import(ctx, "conv/1", tidemark.Digest{}, all[250:260]); err != nil {
		t.Errorf("again, without the digest before it: %v", err)
	}
	leader := target.Leader()
	leader.Crash()
	target.Leader()
	leader.Start()
	target.WaitReady()
	for _, address := range target.Addresses() {
		reader := dialReal(t, []string{address}, client.WithoutDiscovery())
		got, err := reader.Read(ctx, "conv/1", client.Limit(1000))
		if err != nil || len(got.Messages) != 260 || got.PreviousDigest != page.PreviousDigest || got.Timeline.First != 41 {
			t.Fatalf("%d messages from %d, %v", len(got.Messages), got.Timeline.First, err)
		}
		for i := range got.Messages {
			if g, w := &got.Messages[i], &all[i]; g.SeqID != w.SeqID || g.Digest != w.Digest || !g.ServerTime.Equal(w.ServerTime) || string(g.Payload) != string(w.Payload) {
				t.Fatalf("message %d is %+v, want %+v", i, g, w)
			}
		}
	}
	next := mustAppend(t, to, client.Draft{Timeline: "conv/1", ID: "next"})
	if next.SeqID != 301 || next.ServerTime.Before(all[259].ServerTime) {
		t.Errorf("%+v", next)
	}
	changed := append([]client.Message{}, all[10:12]...)
	changed[1].Payload = []byte("another")
	if _, err := to.Import(ctx, "conv/1", tidemark.Digest{}, changed); !errors.Is(err, tidemark.ErrMessageIDConflict) {
		t.Errorf("other content: %v", err)
	}
	if _, err := to.Import(ctx, "conv/2", tidemark.Digest{}, all[10:12]); !errors.Is(err, tidemark.ErrInvalid) {
		t.Errorf("without the digest before it, the chain is another: %v", err)
	}
	if _, err := to.Import(ctx, "conv/2", all[9].Digest, all[10:12]); err != nil {
		t.Errorf("from the middle: %v", err)
	}
	later := append([]client.Message{}, all[20:22]...)
	if _, err := to.Import(ctx, "conv/2", tidemark.Digest{}, later); !errors.Is(err, tidemark.ErrSequenceConflict) {
		t.Errorf("a gap: %v", err)
	}
}
