package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// testTransport is a Transport that remembers what it refused.
type testTransport struct {
	*Transport
	mux *testMux

	mu      sync.Mutex
	invalid []string
}

func openTransport(t *testing.T, id string, change func(*TransportConfig)) *testTransport {
	t.Helper()
	tt := &testTransport{mux: openMux(t, id, nil)}
	cfg := TransportConfig{OnInvalid: func(peer string, err error) {
		tt.mu.Lock()
		defer tt.mu.Unlock()
		tt.invalid = append(tt.invalid, peer+": "+err.Error())
	}}
	if change != nil {
		change(&cfg)
	}
	tt.Transport = NewTransport(tt.mux.Mux, cfg)
	t.Cleanup(func() {
		if err := tt.Close(); err != nil {
			t.Errorf("close of %s: %v", id, err)
		}
	})
	return tt
}

func (t *testTransport) header() raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(t.mux.cfg.NodeID), Addr: []byte(t.LocalAddr())}
}

func (t *testTransport) waitInvalid(tb *testing.T, want string) {
	tb.Helper()
	eventually(tb, "refusal of "+want, func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return strings.Contains(strings.Join(t.invalid, "\n"), want)
	})
}

// answerWith serves the consumer's calls until the test ends.
func (t *testTransport) answerWith(tb *testing.T, answer func(rpc raft.RPC)) {
	tb.Helper()
	go func() {
		for {
			select {
			case rpc := <-t.Consumer():
				answer(rpc)
			case <-tb.Context().Done():
				return
			}
		}
	}()
}

func testConfiguration() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{
		{Suffrage: raft.Voter, ID: "n1", Address: "a:1"}, {Suffrage: raft.Nonvoter, ID: "n2", Address: "b:1"},
	}}
}

func TestTransportCarriesEveryCall(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	var got any
	var body []byte
	n2.answerWith(t, func(rpc raft.RPC) {
		got = rpc.Command
		switch rpc.Command.(type) {
		case *raft.AppendEntriesRequest:
			rpc.Respond(&raft.AppendEntriesResponse{Term: 7, LastLog: 8, Success: true}, nil)
		case *raft.RequestVoteRequest:
			rpc.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
		case *raft.RequestPreVoteRequest:
			rpc.Respond(&raft.RequestPreVoteResponse{Term: 7}, errors.New("not today"))
		case *raft.InstallSnapshotRequest:
			body, _ = io.ReadAll(rpc.Reader)
			rpc.Respond(&raft.InstallSnapshotResponse{Term: 7, Success: true}, nil)
		case *raft.TimeoutNowRequest:
			rpc.Respond(&raft.TimeoutNowResponse{}, nil)
		}
	})
	same := func(sent any) {
		t.Helper()
		if !reflect.DeepEqual(got, sent) {
			t.Errorf("sent     %+v\nreceived %+v", sent, got)
		}
	}

	at := time.Now().Round(0)
	entries := &raft.AppendEntriesRequest{
		RPCHeader: n1.header(), Term: 3, PrevLogEntry: 4, PrevLogTerm: 2, LeaderCommitIndex: 4,
		Entries: []*raft.Log{
			{Index: 5, Term: 2, Type: raft.LogCommand, Data: bytes.Repeat([]byte("x"), 3<<20), Extensions: []byte("e"), AppendedAt: at},
			{Index: 6, Term: 3, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(testConfiguration()), Extensions: []byte{}, AppendedAt: at},
		},
	}
	var appended raft.AppendEntriesResponse
	if err := n1.AppendEntries("n2", n2.LocalAddr(), entries, &appended); err != nil || appended.Term != 7 || !appended.Success {
		t.Fatalf("append: %+v, %v", appended, err)
	}
	sameTimes(t, got.(*raft.AppendEntriesRequest).Entries, at)
	same(entries)

	vote := &raft.RequestVoteRequest{RPCHeader: n1.header(), Term: 3, LastLogIndex: 9, LastLogTerm: 3, LeadershipTransfer: true}
	var voted raft.RequestVoteResponse
	if err := n1.RequestVote("n2", n2.LocalAddr(), vote, &voted); err != nil || !voted.Granted {
		t.Fatalf("vote: %+v, %v", voted, err)
	}
	same(vote)

	preVote := &raft.RequestPreVoteRequest{RPCHeader: n1.header(), Term: 3, LastLogIndex: 9, LastLogTerm: 3}
	var preVoted raft.RequestPreVoteResponse
	if err := n1.RequestPreVote("n2", n2.LocalAddr(), preVote, &preVoted); err == nil || err.Error() != "not today" || preVoted.Term != 7 {
		t.Fatalf("pre-vote: %+v, %v", preVoted, err)
	}
	same(preVote)

	if err := n1.TimeoutNow("n2", n2.LocalAddr(), &raft.TimeoutNowRequest{RPCHeader: n1.header()}, &raft.TimeoutNowResponse{}); err != nil {
		t.Fatal(err)
	}

	content := bytes.Repeat([]byte("snapshot "), 200_000)
	snapshot := &raft.InstallSnapshotRequest{
		RPCHeader: n1.header(), SnapshotVersion: 1, Term: 3, LastLogIndex: 9, LastLogTerm: 3, Peers: []byte{},
		Configuration: raft.EncodeConfiguration(testConfiguration()), ConfigurationIndex: 2, Size: int64(len(content)),
	}
	var installed raft.InstallSnapshotResponse
	if err := n1.InstallSnapshot("n2", n2.LocalAddr(), snapshot, &installed, bytes.NewReader(content)); err != nil || !installed.Success {
		t.Fatalf("snapshot: %+v, %v", installed, err)
	}
	same(snapshot)
	if !bytes.Equal(body, content) {
		t.Errorf("snapshot arrived with %d bytes, want %d", len(body), len(content))
	}
}

// sameTimes compares what DeepEqual cannot, and makes the rest comparable.
func sameTimes(t *testing.T, entries []*raft.Log, want time.Time) {
	t.Helper()
	for _, e := range entries {
		if !e.AppendedAt.Equal(want) {
			t.Errorf("entry %d was appended at %v, want %v", e.Index, e.AppendedAt, want)
		}
		e.AppendedAt = want
	}
}

func TestPipeliningIsOff(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	if _, err := n1.AppendEntriesPipeline("n2", n2.LocalAddr()); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("error is %v, want %v", err, raft.ErrPipelineReplicationNotSupported)
	}
	var _ raft.WithPreVote = n1.Transport // or Raft would silently go without pre-votes
	var _ raft.WithClose = n1.Transport
}

// TestCallsReuseConnections guards the pool: its key is what Target makes.
func TestCallsReuseConnections(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	n2.answerWith(t, func(rpc raft.RPC) { rpc.Respond(&raft.RequestVoteResponse{}, nil) })
	vote := &raft.RequestVoteRequest{RPCHeader: n1.header(), Term: 1}
	for range 20 {
		if err := n1.RequestVote("n2", n2.LocalAddr(), vote, &raft.RequestVoteResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := n2.mux.Conns()[KindRaft]; n != 1 {
		t.Errorf("20 calls made %d connections", n)
	}
	n2.CloseStreams()
	eventually(t, "a call after the streams were closed", func() bool {
		return n1.RequestVote("n2", n2.LocalAddr(), vote, &raft.RequestVoteResponse{}) == nil
	})
}

func TestInvalidMessagesDoNotReachRaft(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", func(c *TransportConfig) {
		c.AdmitSnapshot = func(size int64) error {
			if size > 1000 {
				return errors.New("no room on the disk")
			}
			return nil
		}
	})
	n2.answerWith(t, func(rpc raft.RPC) {
		t.Errorf("%T reached Raft", rpc.Command)
		rpc.Respond(nil, errors.New("test"))
	})
	h := n1.header()
	forged := h
	forged.ID = []byte("n3")
	entry := func(e *raft.Log) *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{RPCHeader: h, Term: 5, PrevLogEntry: 9, PrevLogTerm: 4, Entries: []*raft.Log{e}}
	}
	snapshot := func(change func(*raft.InstallSnapshotRequest)) *raft.InstallSnapshotRequest {
		s := &raft.InstallSnapshotRequest{
			RPCHeader: h, SnapshotVersion: 1, Term: 3, LastLogIndex: 9, LastLogTerm: 3,
			Configuration: raft.EncodeConfiguration(testConfiguration()), ConfigurationIndex: 2, Size: 5,
		}
		change(s)
		return s
	}
	config := func(servers ...raft.Server) []byte {
		return raft.EncodeConfiguration(raft.Configuration{Servers: servers})
	}
	for want, command := range map[string]any{
		`header's id is "n3"`:                &raft.RequestVoteRequest{RPCHeader: forged, Term: 1},
		"header's address has 0 bytes":       &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ID: []byte("n1")}},
		"term is 9223372036854775808":        &raft.RequestVoteRequest{RPCHeader: h, Term: 1 << 63},
		"last log term is 2, above the term": &raft.RequestPreVoteRequest{RPCHeader: h, Term: 1, LastLogTerm: 2},
		"entry 0 of 1 is missing":            entry(nil),
		"has index 12, not 10":               entry(&raft.Log{Index: 12, Term: 5}),
		"has term 3, not within 4 and 5":     entry(&raft.Log{Index: 10, Term: 3}),
		"has term 6, not within 4 and 5":     entry(&raft.Log{Index: 10, Term: 6}),
		"type is 2, which":                   entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogAddPeerDeprecated}),
		"entry 10: configuration does not":   entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogConfiguration, Data: []byte{0x91, 0xc3}}),
		"entry 10: configuration: ":          entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogConfiguration, Data: []byte{0xdf, 255, 255, 255, 255}}),
		"configuration has 0 servers":        entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogConfiguration, Data: config()}),
		"configuration has no voter":         entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogConfiguration, Data: config(raft.Server{Suffrage: raft.Nonvoter, ID: "a", Address: "a"})}),
		`configuration has node "a" twice`:   entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogConfiguration, Data: config(raft.Server{ID: "a", Address: "a"}, raft.Server{ID: "a", Address: "b"})}),
		"configuration's address of node":    entry(&raft.Log{Index: 10, Term: 5, Type: raft.LogConfiguration, Data: config(raft.Server{ID: "a"})}),
		"snapshot has version 0":             snapshot(func(s *raft.InstallSnapshotRequest) { s.SnapshotVersion = 0 }),
		"snapshot has -1 bytes":              snapshot(func(s *raft.InstallSnapshotRequest) { s.Size = -1 }),
		"bytes; limit is 0 to 1125899906842": snapshot(func(s *raft.InstallSnapshotRequest) { s.Size = 1<<63 - 1 }),
		"snapshot has index 0":               snapshot(func(s *raft.InstallSnapshotRequest) { s.LastLogIndex = 0 }),
		"configuration index is 10, above":   snapshot(func(s *raft.InstallSnapshotRequest) { s.ConfigurationIndex = 10 }),
		"configuration does not decode":      snapshot(func(s *raft.InstallSnapshotRequest) { s.Configuration = []byte{0xc3} }),
		"of 2000 bytes: no room on the disk": snapshot(func(s *raft.InstallSnapshotRequest) { s.Size = 2000 }),
	} {
		t.Run(want, func(t *testing.T) {
			err := n1.call(n2, command)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("sender gets %v, want %q", err, want)
			}
			n2.waitInvalid(t, "n1: invalid Raft message: ")
			n2.waitInvalid(t, want)
		})
	}
}

// call sends a request of any type; a snapshot goes without its body.
func (t *testTransport) call(to *testTransport, command any) error {
	const id = "n2"
	switch c := command.(type) {
	case *raft.AppendEntriesRequest:
		return t.AppendEntries(id, to.LocalAddr(), c, &raft.AppendEntriesResponse{})
	case *raft.RequestVoteRequest:
		return t.RequestVote(id, to.LocalAddr(), c, &raft.RequestVoteResponse{})
	case *raft.RequestPreVoteRequest:
		return t.RequestPreVote(id, to.LocalAddr(), c, &raft.RequestPreVoteResponse{})
	case *raft.TimeoutNowRequest:
		return t.TimeoutNow(id, to.LocalAddr(), c, &raft.TimeoutNowResponse{})
	case *raft.InstallSnapshotRequest:
		return t.InstallSnapshot(id, to.LocalAddr(), c, &raft.InstallSnapshotResponse{}, strings.NewReader(""))
	}
	return fmt.Errorf("unknown %T", command)
}

// TestPausedLeaderDoesNotStopItsFollower: Raft's main loop reads a snapshot's
// body, so a sender that stops in the middle must be cut off.
func TestPausedLeaderDoesNotStopItsFollower(t *testing.T) {
	n1 := openTransport(t, "n1", nil)
	n2 := openTransport(t, "n2", func(c *TransportConfig) { c.StallTimeout = 50 * time.Millisecond })
	read := make(chan error, 1)
	n2.answerWith(t, func(rpc raft.RPC) {
		_, err := io.Copy(io.Discard, rpc.Reader)
		read <- err
		rpc.Respond(&raft.InstallSnapshotResponse{}, err)
	})
	paused, resume := io.Pipe()
	defer resume.Close()
	go resume.Write([]byte("some bytes"))
	go n1.InstallSnapshot("n2", n2.LocalAddr(), &raft.InstallSnapshotRequest{
		RPCHeader: n1.header(), SnapshotVersion: 1, Term: 3, LastLogIndex: 9, LastLogTerm: 3,
		Configuration: raft.EncodeConfiguration(testConfiguration()), Size: 1 << 40,
	}, &raft.InstallSnapshotResponse{}, paused)
	select {
	case err := <-read:
		if err == nil {
			t.Error("a snapshot of 1 TiB ended after ten bytes without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the follower waits for ever")
	}
}

func TestCloseUnblocksEverybody(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	failed := make(chan error)
	// One call waits for the consumer, which nobody reads, one for an answer.
	for range 2 {
		go func() {
			failed <- n1.RequestVote("n2", n2.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: n1.header(), Term: 1}, &raft.RequestVoteResponse{})
		}()
	}
	<-n2.Consumer()
	if err := n2.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("a call succeeded without an answer")
		}
	}
}
