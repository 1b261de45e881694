package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// accept shakes hands with one dialer and hands the connection on. It closes conn
// unless somebody has taken it over.
func (m *Mux) accept(conn net.Conn) {
	if !m.pending.add(conn) {
		conn.Close()
		return
	}
	conn.SetDeadline(time.Now().Add(m.cfg.HandshakeTimeout))
	c, refusal, err := m.greet(conn)
	if !m.pending.remove(conn) && err == nil {
		err = errPushedOut
	}
	if err != nil {
		conn.Close()
		if c != nil {
			c.Close()
		}
		if m.ctx.Err() == nil {
			m.refused(refusal.because(err))
		}
		return
	}
	c.SetDeadline(time.Time{})
	// Raft or gRPC may not be up yet, or not any more.
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.HandshakeTimeout)
	defer cancel()
	if !m.queues[c.kind].put(ctx, c) {
		c.Close()
		return
	}
	m.cfg.OnAccepted(c.peer, c.kind, true)
}

var errPushedOut = errors.New("newer connections pushed this one out before it had finished the preface")

// because completes a refusal that has no reason yet by what went wrong on the connection.
func (r Refusal) because(err error) Refusal {
	if r.Reason == Accepted {
		r.Reason, r.Detail = ReasonMalformed, err.Error()
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, net.ErrClosed) || errors.Is(err, errPushedOut) {
			r.Reason = ReasonTimeout
		}
	}
	return r
}

// greet runs TLS and the preface as the acceptor. With an error it returns the
// refusal, of which the dialer was told if it speaks the preface at all.
func (m *Mux) greet(conn net.Conn) (*Conn, Refusal, error) {
	refusal := Refusal{Inbound: true}
	proved := ""
	if m.cfg.TLS != nil {
		secured, id, err := m.cfg.TLS.Server(conn)
		if err != nil {
			refusal.Reason, refusal.Detail = ReasonTLS, err.Error()
			return nil, refusal, err
		}
		conn, proved = secured, id
	}
	h, err := readHello(conn)
	if err != nil {
		var version versionError
		switch {
		case errors.As(err, &version):
			refusal.Reason = ReasonVersion
		case errors.Is(err, errNotPreface), isIOError(err):
			// Silence for whoever does not speak the preface.
			return nil, refusal, err
		default:
			refusal.Reason = ReasonMalformed
		}
		refusal.Detail = err.Error()
		return nil, refusal, m.answerRefusal(conn, refusal)
	}
	refusal.Peer = h.fromID
	if refusal.Reason, refusal.Detail = m.judge(h, proved); refusal.Reason != Accepted {
		return nil, refusal, m.answerRefusal(conn, refusal)
	}
	c, err := m.conns.add(conn, h.fromID, h.kind, true)
	if err != nil {
		refusal.Reason, refusal.Detail = ReasonTooMany, err.Error()
		if errors.Is(err, errSetClosed) {
			refusal.Reason = ReasonStopping
		}
		return nil, refusal, m.answerRefusal(conn, refusal)
	}
	// Remembered only now, so that whoever is refused leaves no trace.
	if err := m.cfg.Registry.Remember(h.fromID, h.fromIncarnation); err != nil {
		refusal.Reason, refusal.Detail = ReasonInternal, err.Error()
		if errors.Is(err, ErrChanged) {
			refusal.Reason, refusal.Detail = ReasonDialerChanged, changedDetail(h.fromID, m.cfg.NodeID)
		}
		return c, refusal, m.answerRefusal(conn, refusal)
	}
	_, err = conn.Write(answer{reason: Accepted, id: m.cfg.NodeID, incarnation: m.cfg.Incarnation}.encode())
	return c, refusal, err
}

// judge decides about a dialer. proved is the id that TLS proved, if there is TLS.
func (m *Mux) judge(h hello, proved string) (Reason, string) {
	switch {
	case !h.kind.valid():
		return ReasonKind, fmt.Sprintf("node %q does not know %v connections: upgrade it", m.cfg.NodeID, h.kind)
	case h.toID != m.cfg.NodeID:
		return ReasonWrongNode, fmt.Sprintf("this is node %q, not %q: check the Raft addresses", m.cfg.NodeID, h.toID)
	case m.cfg.TLS != nil && proved != h.fromID:
		return ReasonIdentity, fmt.Sprintf("the certificate is of %q, the preface says %q", proved, h.fromID)
	case h.fromID == m.cfg.NodeID:
		return ReasonIdentity, fmt.Sprintf("two nodes have the id %q: give one of them another", h.fromID)
	case m.queues[h.kind].isClosed():
		return ReasonStopping, fmt.Sprintf("node %q is stopping", m.cfg.NodeID)
	case !m.cfg.IsMember(h.fromID):
		return ReasonNotMember, fmt.Sprintf("node %q does not know %q as a member of its cluster", m.cfg.NodeID, h.fromID)
	}
	if known, ok := m.cfg.Registry.Known(h.fromID); ok && known != h.fromIncarnation {
		return ReasonDialerChanged, changedDetail(h.fromID, m.cfg.NodeID)
	}
	if h.expectedIncarnation != "" && h.expectedIncarnation != m.cfg.Incarnation {
		return ReasonAcceptorChanged, changedDetail(m.cfg.NodeID, h.fromID)
	}
	return Accepted, ""
}

func changedDetail(changed, knower string) string {
	return fmt.Sprintf("node %q knows %q with another data directory: bring that directory back, or remove the member and add it anew",
		knower, changed)
}

// answerRefusal tells the dialer and always returns an error.
func (m *Mux) answerRefusal(conn net.Conn, r Refusal) error {
	_, err := conn.Write(answer{reason: r.Reason, id: m.cfg.NodeID, detail: r.Detail}.encode())
	if err == nil {
		closeWrite(conn)
	}
	return errors.Join(&RefusedError{r}, err)
}

// closeWrite sends the end of the stream behind an answer and then reads until
// the other side has gone or the deadline is over: closing a socket with unread
// bytes in it would reset the connection and could destroy the answer.
func closeWrite(conn net.Conn) {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	io.Copy(io.Discard, io.LimitReader(conn, maxPrefaceBody))
}

// isIOError reports whether the connection itself failed, so that an answer is pointless.
func isIOError(err error) bool {
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &netErr)
}
