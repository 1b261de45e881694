package peer

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// BenchmarkAppendEntries compares one call over loopback with the bare library's:
// the difference is the preface's address, our reading and the validation.
func BenchmarkAppendEntries(b *testing.B) {
	for _, size := range []int{0, 4 << 10, 512 << 10} {
		b.Run(fmt.Sprintf("bare/%d", size), func(b *testing.B) {
			open := func() *raft.NetworkTransport {
				trans, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 5*time.Second, hclog.NewNullLogger())
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { trans.Close() })
				return trans
			}
			benchmarkAppend(b, open(), open(), size)
		})
		b.Run(fmt.Sprintf("ours/%d", size), func(b *testing.B) {
			open := func(id string) *Transport {
				m, err := Listen(Config{
					NodeID: id, Incarnation: id, Listen: "127.0.0.1:0", Registry: newMemRegistry(nil),
					IsMember: func(string) bool { return true },
				})
				if err != nil {
					b.Fatal(err)
				}
				trans := NewTransport(m, TransportConfig{})
				b.Cleanup(func() {
					trans.Close()
					m.Close()
				})
				return trans
			}
			benchmarkAppend(b, open("n1"), open("n2"), size)
		})
	}
}

func benchmarkAppend(b *testing.B, from, to raft.Transport, size int) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case rpc := <-to.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-done:
				return
			}
		}
	}()
	req := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n1"), Addr: []byte(from.LocalAddr())},
		Term:      1, PrevLogEntry: 1, PrevLogTerm: 1,
	}
	if size > 0 {
		req.Entries = []*raft.Log{{Index: 2, Term: 1, Data: bytes.Repeat([]byte("x"), size)}}
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		if err := from.AppendEntries("n2", to.LocalAddr(), req, &raft.AppendEntriesResponse{}); err != nil {
			b.Fatal(err)
		}
	}
}
