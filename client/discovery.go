package client

import (
	"context"
	"slices"
	"time"

	pb "tidemark/rpc/tidemarkv1"
)

const (
	// discoveryTimeout is how long nodes have to say who leads.
	discoveryTimeout = time.Second
	// refreshTimeout is the same where nobody waits for it. A node takes up to two
	// seconds to say how the cluster is while a member cannot be reached.
	refreshTimeout = 5 * time.Second
	// discoveryPatience is how much longer than the first node the others have.
	discoveryPatience = 100 * time.Millisecond
	// A bad endpoint is probed after probeMin, and then after pauses that double
	// up to probeMax.
	probeMin = 100 * time.Millisecond
	probeMax = 2 * time.Second
)

// learn finds or adds a member; nil if it may not be used. It is called with mu held.
func (e *endpoints) learn(id, address string) *endpoint {
	for _, node := range slices.Concat(e.given, e.discovered) {
		if id == "" || node.id != id {
			continue
		}
		// A node may serve at another address than the one it tells. One that was found
		// by that address alone, and is not there, has moved.
		if address == "" || node.address == address || !node.bad || slices.Contains(e.given, node) {
			return node
		}
		e.drop(func(other *endpoint) bool { return other == node })
	}
	if address == "" {
		return nil
	}
	if node := e.find(address); node != nil {
		return node
	}
	if e.closed || !e.options.discovery || len(e.discovered) >= maxDiscovered {
		return nil
	}
	node, err := e.connect(address)
	if err != nil {
		e.options.logger.Debug("member's address is of no use", "address", address, "error", err)
		return nil
	}
	node.id = id
	e.discovered = append(e.discovered, node)
	return node
}

// forgottenGrace is how long the connection to a node that is no member any more stays
// open for what is under way on it. A longer call fails then as if the node had gone.
const forgottenGrace = time.Minute

// forget drops what was discovered and is no member any more, so that a cluster whose
// members come and go does not fill the list up with those that have gone. The leader's
// word is good for all of them. Another node may be behind, and leave out a member that
// has just come: it is believed only about nodes that are bad, or when there is no room
// left for others. It is called with mu held.
func (e *endpoints) forget(status *pb.StatusResponse) {
	members := status.GetMembers()
	if len(members) == 0 || status.GetTerm() < e.term || e.closed {
		return
	}
	leads := status.GetLeaderId() == status.GetNodeId()
	full := len(e.discovered) >= maxDiscovered
	e.drop(func(node *endpoint) bool {
		gone := !slices.ContainsFunc(members, func(m *pb.Member) bool {
			return m.GetNodeId() == node.id || m.GetClientAddress() == node.address
		})
		return gone && (leads || node.bad || full)
	})
}

// drop removes discovered nodes. It is called with mu held.
func (e *endpoints) drop(gone func(*endpoint) bool) {
	e.discovered = slices.DeleteFunc(e.discovered, func(node *endpoint) bool {
		if !gone(node) {
			return false
		}
		node.forgotten = true
		if e.leader == node {
			e.leader = nil
		}
		e.probes.Go(func() { e.closeLater(node) })
		return true
	})
}

// closeLater closes the connection of a node that was forgotten.
func (e *endpoints) closeLater(node *endpoint) {
	select {
	case <-e.ctx.Done():
	case <-time.After(forgottenGrace):
	}
	_ = node.conn.Close() // fails only if it is closed already
}

// answer is what a node said of itself and the cluster, or nil.
type answer struct {
	node   *endpoint
	status *pb.StatusResponse
}

// discover asks all nodes who leads, and believes the first that knows. It returns
// nil if none does in time.
func (e *endpoints) discover(ctx context.Context, timeout time.Duration) *endpoint {
	if !e.options.discovery {
		return e.knownLeader()
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e.mu.Lock()
	nodes := slices.Concat(e.given, e.discovered)
	e.mu.Unlock()
	answers := make(chan answer, len(nodes))
	for _, node := range nodes {
		go func() { answers <- answer{node, node.status(ctx)} }()
	}
	var patience <-chan time.Time
	for range nodes {
		select {
		case a := <-answers:
			if leader := e.believe(a); leader != nil {
				return leader
			}
			if a.status != nil && patience == nil {
				patience = time.After(discoveryPatience)
			}
		case <-patience:
			return nil
		}
	}
	return nil
}

// believe takes a node's word about itself, the members and the leader. It returns
// the leader, unless an answer of a later term is known, or the leader is bad: who
// names it may not have noticed yet. The leader's own word shows that it is not.
func (e *endpoints) believe(a answer) *endpoint {
	if a.status == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.node.id = a.status.GetNodeId()
	e.forget(a.status)
	for _, member := range a.status.GetMembers() {
		e.learn(member.GetNodeId(), member.GetClientAddress())
	}
	leader := e.learn(a.status.GetLeaderId(), a.status.GetLeaderClientAddress())
	if leader == nil || a.status.GetTerm() < e.term || leader.bad && leader != a.node {
		return nil
	}
	leader.bad = false
	e.leader, e.term = leader, a.status.GetTerm()
	return leader
}

// status is what the node says of itself, or nil if it does not answer.
func (n *endpoint) status(ctx context.Context) *pb.StatusResponse {
	if n.ready(ctx) != nil {
		return nil
	}
	status, err := n.cluster.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return nil
	}
	return status
}

// probe asks a bad node until it answers and can serve, so that no call has to be
// the one that finds out. Meanwhile the others are asked who the members are: this one
// may be gone for good, and when the last of those that are known goes it is too late.
func (e *endpoints) probe(node *endpoint) {
	e.probes.Go(func() { e.discover(e.ctx, refreshTimeout) })
	for pause := probeMin; ; pause = min(2*pause, probeMax) {
		select {
		case <-e.ctx.Done():
			return
		case <-time.After(pause):
		}
		ctx, cancel := context.WithTimeout(e.ctx, e.options.stallTimeout)
		status := node.status(ctx)
		cancel()
		e.mu.Lock()
		if status != nil && status.GetNotServingReason() == "" {
			node.bad = false
		}
		if !node.bad || node.forgotten {
			node.probed = false
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
	}
}
