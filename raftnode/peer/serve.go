package peer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"

	"tidemark/internal/planted"
)

// readBuffer is how much is read from a connection at once.
const readBuffer = 256 << 10

// keepMessageBuffer is the largest message whose buffer a connection keeps for the next.
const keepMessageBuffer = 1 << 20

// decodeHandle lets the decoder allocate an entry's bytes at once instead of
// growing them. It may: readMessage has seen that what the lengths claim is there.
var decodeHandle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{}
	h.MaxInitLen = 1 << 20
	return h
}()

func (t *Transport) listen() {
	for {
		conn, err := t.streams.Accept()
		if err != nil {
			return
		}
		c := conn.(*Conn)
		t.mu.Lock()
		t.inbound[c] = struct{}{}
		t.mu.Unlock()
		t.wg.Go(func() {
			t.serve(c)
			t.mu.Lock()
			delete(t.inbound, c)
			t.mu.Unlock()
		})
		// Close may have gone over the set just before.
		select {
		case <-t.done:
			c.Close()
		default:
		}
	}
}

// session is one inbound Raft stream. Its other end is a raft.NetworkTransport
// without pipelining: it sends one request and waits for the answer.
type session struct {
	t    *Transport
	conn *Conn
	r    *bufio.Reader
	w    *bufio.Writer
	enc  *codec.Encoder
	buf  []byte
}

func (t *Transport) serve(conn *Conn) {
	defer conn.Close()
	w := bufio.NewWriter(conn)
	s := &session{
		t: t, conn: conn, w: w,
		r:   bufio.NewReaderSize(conn, readBuffer),
		enc: codec.NewEncoder(w, &codec.MsgpackHandle{}),
	}
	for {
		err := s.next()
		if err == nil {
			continue
		}
		var invalid *invalidRPCError
		switch {
		case errors.As(err, &invalid):
			s.complain(err)
		case !isIOError(err) && !errors.Is(err, raft.ErrTransportShutdown):
			t.cfg.Logger.Warn("a Raft stream broke", "peer", conn.Peer(), "error", err)
		}
		return
	}
}

func (s *session) complain(err error) {
	s.t.cfg.Logger.Error("a Raft message was refused", "peer", s.conn.Peer(), "error", err)
	s.t.cfg.OnInvalid(s.conn.Peer(), err)
}

// next serves one request. Any error ends the stream: after a message that does
// not decode nobody knows where the next one starts.
func (s *session) next() error {
	// Between messages a stream may rest as long as it likes; keepalive and the
	// limit of connections per peer look after dead ones.
	s.conn.SetReadDeadline(time.Time{})
	kind, err := s.r.ReadByte()
	if err != nil {
		return err
	}
	command, err := s.readCommand(kind)
	if err != nil {
		return err
	}
	snapshot, isSnapshot := command.(*raft.InstallSnapshotRequest)
	if err := s.admit(command); err != nil {
		err = invalidRPC("%w", err)
		s.complain(err)
		if err := s.respond(raft.RPCResponse{Error: err}); err != nil || !isSnapshot {
			return err
		}
		// Its body is on the way, and nobody wants it.
		return io.EOF
	}
	respCh := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{Command: command, RespChan: respCh}
	if isSnapshot {
		rpc.Reader = io.LimitReader(stallReader{s}, snapshot.Size)
	}
	if err := s.t.dispatch(rpc); err != nil {
		return err
	}
	select {
	case resp := <-respCh:
		if err := s.respond(resp); err != nil {
			return err
		}
	case <-s.t.done:
		return raft.ErrTransportShutdown
	}
	if isSnapshot {
		// The sender does not use the connection again.
		return io.EOF
	}
	return nil
}

// dispatch hands a request to Raft's main loop, or with a bug planted a heartbeat to
// Raft at once.
func (t *Transport) dispatch(rpc raft.RPC) error {
	if planted.Is(planted.HeartbeatFastPath) && isHeartbeat(rpc.Command) {
		t.mu.Lock()
		handle := t.heartbeat
		t.mu.Unlock()
		if handle != nil {
			handle(rpc)
			return nil
		}
	}
	select {
	case t.rpcs <- rpc:
		return nil
	case <-t.done:
		return raft.ErrTransportShutdown
	}
}

// isHeartbeat tells a heartbeat by the same signs as raft.NetworkTransport.
func isHeartbeat(command any) bool {
	a, ok := command.(*raft.AppendEntriesRequest)
	return ok && a.Term != 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// readCommand reads and decodes the message behind the byte that tells its type.
func (s *session) readCommand(kind byte) (any, error) {
	command := newCommand(kind)
	if command == nil {
		return nil, invalidRPC("unknown type %d", kind)
	}
	if cap(s.buf) > keepMessageBuffer {
		s.buf = nil
	}
	var err error
	s.buf, err = readMessage(stalledAt{s.r, s}, s.buf[:0], s.t.cfg.MaxMessageBytes)
	if err != nil {
		return nil, err
	}
	if err := codec.NewDecoderBytes(s.buf, decodeHandle).Decode(command); err != nil {
		return nil, invalidRPC("%T does not decode: %v", command, err)
	}
	return command, nil
}

// admit decides whether a decoded message reaches Raft. The sender is told why not.
func (s *session) admit(command any) error {
	if err := validate(command, s.conn.Peer()); err != nil {
		return err
	}
	if snapshot, ok := command.(*raft.InstallSnapshotRequest); ok {
		if err := s.t.cfg.AdmitSnapshot(snapshot.Size); err != nil {
			return fmt.Errorf("snapshot of %d bytes: %w", snapshot.Size, err)
		}
	}
	return nil
}

// respond writes the error, then the response, as raft.NetworkTransport reads them.
func (s *session) respond(resp raft.RPCResponse) error {
	s.conn.SetWriteDeadline(time.Now().Add(s.t.cfg.StallTimeout))
	message := ""
	if resp.Error != nil {
		message = resp.Error.Error()
	}
	if err := s.enc.Encode(message); err != nil {
		return err
	}
	if err := s.enc.Encode(resp.Response); err != nil {
		return err
	}
	return s.w.Flush()
}

// stallReader reads the body of a snapshot, each read under StallTimeout.
type stallReader struct{ s *session }

func (r stallReader) Read(p []byte) (int, error) {
	r.s.conn.SetReadDeadline(time.Now().Add(r.s.t.cfg.StallTimeout))
	return r.s.r.Read(p)
}

// stalledAt reads a message, each time that bytes have to be waited for under StallTimeout.
type stalledAt struct {
	*bufio.Reader
	s *session
}

func (r stalledAt) wait() {
	if r.Buffered() == 0 {
		r.s.conn.SetReadDeadline(time.Now().Add(r.s.t.cfg.StallTimeout))
	}
}

func (r stalledAt) ReadByte() (byte, error) {
	r.wait()
	return r.Reader.ReadByte()
}

func (r stalledAt) Read(p []byte) (int, error) {
	r.wait()
	return r.Reader.Read(p)
}
