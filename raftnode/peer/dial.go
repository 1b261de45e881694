package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Dial connects to the node with that id at that address and shakes hands, within
// DialTimeout or what ctx leaves. The error is a *RefusedError if one of the two
// did not want the other.
func (m *Mux) Dial(ctx context.Context, kind Kind, id, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.DialTimeout)
	defer cancel()
	if m.ctx.Err() != nil {
		return nil, fmt.Errorf("connect to node %q: %w", id, net.ErrClosed)
	}
	// Closing the Mux ends the dial.
	defer context.AfterFunc(m.ctx, cancel)()
	if err := validateName("id of the node to dial", id, MaxNodeIDBytes); err != nil {
		return nil, err
	}
	raw, err := m.cfg.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to node %q: %w", id, err)
	}
	// From here on ctx acts by breaking the connection.
	if deadline, ok := ctx.Deadline(); ok {
		raw.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	conn, err := m.introduce(raw, kind, id)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		var refused *RefusedError
		if errors.As(err, &refused) {
			m.refused(refused.Refusal)
			return nil, err
		}
		return nil, fmt.Errorf("shake hands with node %q at %s: %w", id, address, errors.Join(err, ctx.Err()))
	}
	raw.SetDeadline(time.Time{})
	c, err := m.conns.add(conn, id, kind, false)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("connect to node %q: %w", id, net.ErrClosed)
	}
	m.cfg.OnAccepted(id, kind, false)
	return c, nil
}

// introduce runs TLS and the preface as the dialer.
func (m *Mux) introduce(conn net.Conn, kind Kind, id string) (net.Conn, error) {
	refuse := func(reason Reason, detail string) error {
		return &RefusedError{Refusal{Peer: id, Reason: reason, Detail: detail}}
	}
	if m.cfg.TLS != nil {
		secured, err := m.cfg.TLS.Client(conn, id)
		if err != nil {
			return nil, refuse(ReasonTLS, err.Error())
		}
		conn = secured
	}
	known, _ := m.cfg.Registry.Known(id)
	h := hello{kind: kind, fromID: m.cfg.NodeID, fromIncarnation: m.cfg.Incarnation, toID: id, expectedIncarnation: known}
	if _, err := conn.Write(h.encode()); err != nil {
		return nil, err
	}
	a, err := readAnswer(conn)
	var version versionError
	switch {
	case errors.As(err, &version):
		return nil, refuse(ReasonVersion, err.Error())
	case err != nil:
		return nil, err
	case a.reason != Accepted:
		return nil, refuse(a.reason, a.detail)
	case a.id != id:
		return nil, refuse(ReasonWrongNode, fmt.Sprintf("the address belongs to node %q", a.id))
	}
	err = m.cfg.Registry.Remember(id, a.incarnation)
	switch {
	case errors.Is(err, ErrChanged):
		return nil, refuse(ReasonAcceptorChanged, changedDetail(id, m.cfg.NodeID))
	case err != nil:
		return nil, err
	}
	return conn, nil
}
