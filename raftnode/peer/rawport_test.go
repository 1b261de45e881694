package peer

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// crafted are messages that panic Raft's main loop when they reach it.
func crafted(header raft.RPCHeader) map[string]any {
	entry := func(e *raft.Log) *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{RPCHeader: header, Term: 1 << 20, Entries: []*raft.Log{e}}
	}
	garbage := []byte{0xc3}
	return map[string]any{
		"missing entry":           entry(nil),
		"damaged configuration":   entry(&raft.Log{Index: 100, Term: 1, Type: raft.LogConfiguration, Data: garbage}),
		"damaged snapshot header": &raft.InstallSnapshotRequest{RPCHeader: header, SnapshotVersion: 1, Term: 1 << 20, LastLogIndex: 9, Configuration: garbage},
	}
}

// TestBareLibraryPanicsHelper is a process of its own in which the bare library
// gets one crafted message.
func TestBareLibraryPanicsHelper(t *testing.T) {
	name := os.Getenv("TIDEMARK_TEST_CRAFTED")
	if name == "" {
		t.Skip("runs only as a child of TestBareLibraryPanics")
	}
	trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	sender, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	openLeader(t, trans)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n2"), Addr: []byte("b:1")}
	switch c := crafted(header)[name].(type) {
	case *raft.AppendEntriesRequest:
		err = sender.AppendEntries("n1", trans.LocalAddr(), c, &raft.AppendEntriesResponse{})
	case *raft.InstallSnapshotRequest:
		err = sender.InstallSnapshot("n1", trans.LocalAddr(), c, &raft.InstallSnapshotResponse{}, strings.NewReader(""))
	}
	t.Fatalf("the bare library answered %v", err)
}

// TestBareLibraryPanics shows what validate is for. If it fails for a message,
// upstream has been mended there.
func TestBareLibraryPanics(t *testing.T) {
	for name := range crafted(raft.RPCHeader{}) {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBareLibraryPanicsHelper$")
			cmd.Env = append(os.Environ(), "TIDEMARK_TEST_CRAFTED="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "panic: ") {
				t.Errorf("the bare library survived: %v\n%s", err, out)
			}
		})
	}
}

func TestCraftedMessagesDoNotPanicRaft(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", nil)
	r, _ := openLeader(t, n1.Transport)
	for name, command := range crafted(n2.header()) {
		var err error
		switch c := command.(type) {
		case *raft.AppendEntriesRequest:
			err = n2.AppendEntries("n1", n1.LocalAddr(), c, &raft.AppendEntriesResponse{})
		case *raft.InstallSnapshotRequest:
			err = n2.InstallSnapshot("n1", n1.LocalAddr(), c, &raft.InstallSnapshotResponse{}, strings.NewReader(""))
		}
		if err == nil || !strings.Contains(err.Error(), "invalid Raft message") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Apply([]byte("x"), 10*time.Second).Error(); err != nil {
		t.Errorf("the leader was disturbed: %v", err)
	}
}

// TestUnframedGarbage sends what does not even decode.
func TestUnframedGarbage(t *testing.T) {
	n1, n2 := openTransport(t, "n1", nil), openTransport(t, "n2", func(c *TransportConfig) { c.MaxMessageBytes = 1 << 20 })
	n2.answerWith(t, func(rpc raft.RPC) { t.Errorf("%T reached Raft", rpc.Command) })
	for want, send := range map[string]string{
		"unknown type 5":                     "\x05",
		"unknown type 71":                    "GET / HTTP/1.1\r\n\r\n",
		"byte 0xc1":                          "\x00\xc1",
		"container of 4294967295":            "\x00\xdd\xff\xff\xff\xff",
		"more than 1048576 bytes":            "\x01\xc6\xff\xff\xff\xff",
		"AppendEntriesRequest does not":      "\x00\xa3abc",
		"InstallSnapshotRequest does not":    "\x02\x81\xa4Size\xa3abc",
		"header's id is \"\" on a conn":      "\x03\x80",
		"RequestVoteRequest does not decode": "\x01\x81\xa4Term\xff",
	} {
		t.Run(want, func(t *testing.T) {
			conn, err := n1.mux.Dial(testContext(t), KindRaft, "n2", n2.mux.Advertise())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(send)); err != nil {
				t.Fatal(err)
			}
			n2.waitInvalid(t, want)
		})
	}
}

// oldSnapshots refuses a snapshot of what is applied already, as a snapshot store
// must: raft would go back to it, and panic where the log in between is gone.
type oldSnapshots struct {
	raft.SnapshotStore
	r **raft.Raft
}

func (o oldSnapshots) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if index <= (*o.r).AppliedIndex() {
		return nil, errors.New("older than what is applied")
	}
	return o.SnapshotStore.Create(v, index, term, c, ci, trans)
}

// blindFSM takes everything.
type blindFSM struct{}

func (blindFSM) Apply(*raft.Log) any                 { return nil }
func (blindFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("no snapshots") }
func (blindFSM) Restore(r io.ReadCloser) error {
	_, err := io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// openFuzzed starts Raft as a voter that will not be elected while a test runs.
// Its port is a Unix socket: thousands of nodes a second would use up TCP's ports.
func openFuzzed(t *testing.T) (*raft.Raft, net.Addr) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	mux := openMux(t, "n1", func(c *Config) { c.Listener, c.Advertise, c.HandshakeTimeout = l, "a:1", 200*time.Millisecond })
	n1 := NewTransport(mux.Mux, TransportConfig{StallTimeout: time.Second})
	cfg := raft.DefaultConfig()
	cfg.LocalID = "n1"
	cfg.Logger = hclog.NewNullLogger()
	cfg.SnapshotThreshold = 1 << 60
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = time.Minute, time.Minute
	store := raft.NewInmemStore()
	var r *raft.Raft
	snapshots := oldSnapshots{raft.NewInmemSnapshotStore(), &r}
	servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: n1.LocalAddr()}, {ID: "n2", Address: "127.0.0.1:1"}}}
	if err := raft.BootstrapCluster(cfg, store, store, snapshots, n1, servers); err != nil {
		t.Fatal(err)
	}
	if r, err = raft.NewRaft(cfg, blindFSM{}, store, store, snapshots, n1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	})
	return r, l.Addr()
}

// FuzzRaftPort sends bytes to a node that runs Raft: from the first one, or
// behind a preface that is accepted. The node must live and answer a member.
func FuzzRaftPort(f *testing.F) {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n2"), Addr: []byte("b:1")}
	message := func(kind uint8, v any) []byte { return append([]byte{kind}, encodeMessage(f, v)...) }
	vote := message(rpcRequestVote, &raft.RequestVoteRequest{RPCHeader: header, Term: 9, LastLogIndex: 9, LastLogTerm: 9})
	entries := &raft.AppendEntriesRequest{
		RPCHeader: header, Term: 9, PrevLogEntry: 1, PrevLogTerm: 1, LeaderCommitIndex: 9,
		Entries: []*raft.Log{{Index: 2, Term: 2, Data: []byte("x")}, {Index: 3, Term: 9, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(testConfiguration())}},
	}
	snapshot := &raft.InstallSnapshotRequest{
		RPCHeader: header, SnapshotVersion: 1, Term: 9, LastLogIndex: 7, LastLogTerm: 2,
		Configuration: raft.EncodeConfiguration(testConfiguration()), ConfigurationIndex: 3, Size: 4,
	}
	f.Add(true, vote)
	f.Add(true, append(vote, message(rpcAppendEntries, entries)...))
	f.Add(true, message(rpcAppendEntries, &raft.AppendEntriesRequest{RPCHeader: header, Term: 1 << 40}))
	f.Add(true, append(message(rpcInstallSnapshot, snapshot), "body"...))
	f.Add(true, message(rpcTimeoutNow, &raft.TimeoutNowRequest{RPCHeader: header}))
	f.Add(true, message(rpcRequestPreVote, &raft.RequestPreVoteRequest{RPCHeader: header, Term: 9}))
	f.Add(true, []byte("\x00\xdf\xff\xff\xff\xff"))
	for _, command := range crafted(header) {
		kind := rpcAppendEntries
		if _, ok := command.(*raft.InstallSnapshotRequest); ok {
			kind = rpcInstallSnapshot
		}
		f.Add(true, message(kind, command))
	}
	f.Add(false, hello{KindGRPC, "n2", "n2-a", "n1", ""}.encode())
	f.Add(false, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	f.Fuzz(func(t *testing.T, greet bool, in []byte) {
		r, address := openFuzzed(t)
		conn, err := net.Dial("unix", address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if greet {
			in = append(hello{KindRaft, "n2", "n2-a", "n1", ""}.encode(), in...)
		}
		conn.Write(in)
		conn.(*net.UnixConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the node holds a stream that has ended")
		}
		if err := r.GetConfiguration().Error(); err != nil {
			t.Fatalf("the node does not answer: %v", err)
		}
		if r.State() == raft.Shutdown {
			t.Fatal("the node has shut down")
		}
	})
}
