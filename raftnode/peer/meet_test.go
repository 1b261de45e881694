package peer

import (
	"context"
	"errors"
	"testing"
)

// TestFollowersMeet: two nodes that Raft never connects must still know each
// other, so that neither can come back empty to the other.
func TestFollowersMeet(t *testing.T) {
	n2, n3 := openMux(t, "n2", nil), openMux(t, "n3", nil)
	serve(t, n2, &fakeService{})
	serve(t, n3, &fakeService{})
	members := []Member{
		{ID: "n1", RaftAddress: "127.0.0.1:1"}, // away
		{ID: "n2", RaftAddress: n2.Advertise()},
		{ID: "n3", RaftAddress: n3.Advertise()},
	}
	ctx, cancel := context.WithCancel(t.Context())
	met := make(chan struct{})
	go func() {
		defer close(met)
		n2.Meet(ctx, func() []Member { return members })
	}()
	eventually(t, "both to know each other", func() bool {
		_, a := n2.registry.Known("n3")
		_, b := n3.registry.Known("n2")
		return a && b
	})
	cancel()
	<-met
	if _, known := n2.registry.Known("n2"); known {
		t.Error("a node met itself")
	}
	address := n3.Advertise()
	n3.Close()
	openMux(t, "n3", func(c *Config) { c.Incarnation, c.Listen = "n3-b", address })
	_, err := n2.Dial(testContext(t), KindRaft, "n3", address)
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != ReasonAcceptorChanged {
		t.Errorf("a follower that came back empty: %v, want %v", err, ReasonAcceptorChanged)
	}
}

func TestMeetEndsWithTheMux(t *testing.T) {
	n1 := openMux(t, "n1", nil)
	met := make(chan struct{})
	go func() {
		defer close(met)
		n1.Meet(context.Background(), func() []Member { return nil })
	}()
	n1.Close()
	<-met
}
