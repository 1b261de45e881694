package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer is the raft.StreamLayer over the Raft streams of a Mux.
type streamLayer struct {
	*queue
	mux *Mux
}

// Target makes the address that a StreamLayer dials: it holds the node id too,
// because raft dials by address alone, and the preface says whom it means.
func Target(id raft.ServerID, address raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + string(address))
}

func splitTarget(target raft.ServerAddress) (id, address string, err error) {
	// HOST:PORT holds no @, whatever the id does.
	i := strings.LastIndexByte(string(target), '@')
	if i <= 0 {
		return "", "", fmt.Errorf("peer: address %q does not say which node to expect; make it with Target", target)
	}
	return string(target[:i]), string(target[i+1:]), nil
}

// Dial implements raft.StreamLayer. It never takes longer than Config.DialTimeout.
func (s streamLayer) Dial(target raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, address, err := splitTarget(target)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return s.mux.Dial(ctx, KindRaft, id, address)
}

// dialOnly is a StreamLayer that accepts nothing. It lets raft.NetworkTransport
// make the outbound calls while the Transport serves the inbound ones.
type dialOnly struct {
	streamLayer
	closed *queue
}

func (d dialOnly) Accept() (net.Conn, error) { return d.closed.Accept() }
func (d dialOnly) Close() error              { return d.closed.Close() }
