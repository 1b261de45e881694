//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/vishvananda/netns"
)

// relays is a network on loopback: others are told the address of a relay in front
// of each node, which holds back what must not pass. It needs no privileges. Who is
// at the other end of a connection it learns from the process that opened it.
type relays struct {
	// mu guards what follows.
	mu      sync.Mutex
	members map[NodeID]*relayed
	gates   map[pair]*gate
	// owners are the processes of the members, by their id.
	owners map[int]NodeID
}

// relayed is what stands in front of one node.
type relayed struct {
	client, raft *relay
	ports        ports
}

func newRelays() (*relays, error) {
	return &relays{
		members: map[NodeID]*relayed{},
		gates:   map[pair]*gate{},
		owners:  map[int]NodeID{os.Getpid(): Clients},
	}, nil
}

func (r *relays) String() string { return "relays on loopback" }

func (r *relays) supports(feature Feature) bool {
	return slices.Contains([]Feature{FeatureCut, FeatureDelay}, feature)
}

func (r *relays) join(id NodeID) (_ addresses, err error) {
	at, err := claimPorts()
	if err != nil {
		return addresses{}, err
	}
	defer func() {
		if err != nil {
			at.release()
		}
	}()
	client, err := newRelay(at.client, func(conn *net.TCPConn) (pair, bool) {
		from, ok := r.owner(conn)
		if !ok {
			// Whoever asks from outside of the cluster is a client.
			from = Clients
		}
		return pair{from, id}, true
	}, r.gate)
	if err != nil {
		return addresses{}, err
	}
	raft, err := newRelay(at.raft, func(conn *net.TCPConn) (pair, bool) {
		from, ok := r.owner(conn)
		return pair{from, id}, ok
	}, r.gate)
	if err != nil {
		return addresses{}, errors.Join(err, client.close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[id] = &relayed{client: client, raft: raft, ports: at}
	return addresses{
		listen: at.client, advertise: client.address(),
		raftListen: at.raft, raftAdvertise: raft.address(),
		http: at.http,
	}, nil
}

// owner returns the member whose process opened a connection. It does not know a
// process that has ended since.
func (r *relays) owner(conn *net.TCPConn) (NodeID, bool) {
	inode, ok := farSocket(conn)
	if !ok {
		return "", false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for pid, id := range r.owners {
		if hasSocket(pid, inode) {
			return id, true
		}
	}
	return "", false
}

// gate returns the one that all must pass who go that way.
func (r *relays) gate(p pair) *gate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gates[p] == nil {
		r.gates[p] = newGate()
	}
	return r.gates[p]
}

func (r *relays) leave(id NodeID) error {
	r.mu.Lock()
	m := r.members[id]
	delete(r.members, id)
	r.mu.Unlock()
	return m.close()
}

func (r *relays) start(id NodeID, cmd *exec.Cmd) error {
	// Nobody asks for the owner of its first connection before it is known.
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := startWithin(netns.None(), cmd); err != nil {
		return err
	}
	for pid, owner := range r.owners {
		if owner == id {
			delete(r.owners, pid)
		}
	}
	r.owners[cmd.Process.Pid] = id
	return nil
}

func (r *relays) dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", address)
}

// observe is given addresses where nodes listen, in front of which there is no relay.
func (r *relays) observe(ctx context.Context, address string) (net.Conn, error) {
	return r.dial(ctx, address)
}

func (r *relays) arrive(to NodeID, faults map[NodeID]link) error {
	r.mu.Lock()
	sources := map[NodeID]*gate{}
	for p, g := range r.gates {
		if p.to == to {
			sources[p.from] = g
		}
	}
	for from := range faults {
		if sources[from] == nil {
			sources[from] = newGate()
			r.gates[pair{from, to}] = sources[from]
		}
	}
	r.mu.Unlock()
	for from, g := range sources {
		g.set(faults[from])
	}
	return nil
}

func (r *relays) bandwidth(id NodeID, _ uint64) error {
	return fmt.Errorf("bandwidth of %s: %w", id, errors.ErrUnsupported)
}

func (r *relays) close() error {
	r.mu.Lock()
	members := r.members
	r.members = map[NodeID]*relayed{}
	r.mu.Unlock()
	var errs []error
	for _, m := range members {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

func (m *relayed) close() error {
	m.ports.release()
	return errors.Join(m.client.close(), m.raft.close())
}
