package peer

import "fmt"

// Reason says why a connection was refused. The values up to ReasonInternal go
// over the wire; never renumber them.
type Reason uint8

const (
	// Accepted is the reason of no refusal.
	Accepted Reason = iota
	// ReasonMalformed is given for bytes that are not a preface.
	ReasonMalformed
	// ReasonVersion is given to a dialer that speaks a newer preface.
	ReasonVersion
	// ReasonKind is given when the acceptor does not know the kind of the connection.
	ReasonKind
	// ReasonWrongNode is given when the address belongs to another node than the dialer meant.
	ReasonWrongNode
	// ReasonIdentity is given when TLS proved another id than the preface claims.
	ReasonIdentity
	// ReasonNotMember is given when the dialer is not a member of the cluster, as the acceptor knows it.
	ReasonNotMember
	// ReasonDialerChanged is given when the acceptor knows the dialer's id with another data directory.
	ReasonDialerChanged
	// ReasonAcceptorChanged is given when the dialer knows the acceptor's id with another data directory.
	ReasonAcceptorChanged
	// ReasonTooMany is given when the acceptor holds as many connections as it may.
	ReasonTooMany
	// ReasonStopping is given when the acceptor shuts down.
	ReasonStopping
	// ReasonInternal is given when the acceptor could not decide, such as when it cannot store the dialer's incarnation.
	ReasonInternal

	// ReasonTimeout is never sent: the other side did not finish the preface in time,
	// or was pushed out by newer connections.
	ReasonTimeout
	// ReasonTLS is never sent: the TLS handshake failed.
	ReasonTLS

	reasonCount
)

var reasonNames = [reasonCount]string{
	"accepted", "malformed", "version", "kind", "wrong_node", "identity", "not_member", "dialer_changed",
	"acceptor_changed", "too_many", "stopping", "internal", "timeout", "tls",
}

// String is a stable lower-case name, fit for a metric's label.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Reasons returns every reason that a refusal can have, for metrics that want
// each label from the start.
func Reasons() []Reason {
	var all []Reason
	for r := ReasonMalformed; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// Refusal tells of one connection that did not come about.
type Refusal struct {
	// Peer is the id of the other node, as it said or as it was dialed; empty
	// when it did not get as far as saying it. Only TLS proves it.
	Peer string
	// Inbound is true if this node was the acceptor.
	Inbound bool
	Reason  Reason
	// Detail is the reason in words, with what an operator should do where that is known.
	Detail string
}

// OwnDataReplaced reports whether the other node knows this node's id with
// another data directory than it has now: this node lost its disk or was given a
// fresh one, so what it voted and acknowledged before is gone.
//
// An outbound refusal comes from an address that this node dialed by its own
// configuration. An inbound one is a mere claim unless there is TLS: it is worth
// a log line, and worth stopping only together with other signs.
func (r Refusal) OwnDataReplaced() bool {
	if r.Inbound {
		return r.Reason == ReasonAcceptorChanged
	}
	return r.Reason == ReasonDialerChanged
}

// RefusedError is returned by a dial that reached a node and was refused by it,
// or that refused what it reached.
type RefusedError struct{ Refusal }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("connection to node %q was refused (%s): %s", e.Peer, e.Reason, e.Detail)
}
