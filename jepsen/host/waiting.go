//go:build linux

package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The protocol of nfnetlink_queue, of which x/sys/unix has nothing. Every message
// begins with a byte of address family, a byte of version and two of the queue's
// number, highest first; then come attributes, whose numbers are highest first too.
//
//	to the kernel    configure  command: u8 command, u8 0, u16 family
//	                            params:  u32 bytes to copy, u8 what to copy
//	                            length:  u32 packets
//	                            mask, flags: u32
//	from the kernel  packet     header: u32 id, u16 protocol, u8 hook
//	to the kernel    verdict    header: u32 verdict, u32 id
const (
	queuePacket    = unix.NFNL_SUBSYS_QUEUE << 8
	queueVerdict   = unix.NFNL_SUBSYS_QUEUE<<8 | 1
	queueConfigure = unix.NFNL_SUBSYS_QUEUE<<8 | 2

	configureCommand = 1
	configureParams  = 2
	configureLength  = 3
	configureMask    = 4
	configureFlags   = 5

	commandBind  = 1
	copyMeta     = 1
	flagSegments = 1 << 2

	attributePacketHeader  = 1
	attributeVerdictHeader = 2
	verdictAccept          = 1

	messageHeaderLen = 4
)

// queueLength bounds the packets of one queue that wait; more are lost, as in a
// router that is full. It is 160 ms of a hundred thousand packets a second.
const queueLength = 1 << 14

// waitingRoom holds back packets of one namespace: rules of the filter send them to
// queues, which the kernel hands to it, and it lets each go on when its time has come.
type waitingRoom struct {
	conn *netlink.Conn
	done sync.WaitGroup

	// mu guards queues, by their number.
	mu     sync.Mutex
	queues map[uint16]*waitingQueue
	closed bool
}

// waitingQueue is the packets from one other end, in their order.
type waitingQueue struct {
	number uint16
	// delay and jitter hold for packets that come from now on. The room's mu guards them.
	delay, jitter time.Duration
	packets       chan waitingPacket
}

type waitingPacket struct {
	id  uint32
	due time.Time
}

func newWaitingRoom(ns netns.NsHandle) (*waitingRoom, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(ns)})
	if err != nil {
		return nil, fmt.Errorf("hold packets back: %w", err)
	}
	r := &waitingRoom{conn: conn, queues: map[uint16]*waitingQueue{}}
	// What does not fit is lost, so more is better; the kernel may allow less.
	_ = conn.SetReadBuffer(8 << 20)
	// Whether this kernel has such queues is only told to one who asks, and nobody
	// may be receiving packets meanwhile. No rule sends packets to queue 0.
	request, err := configure(0)
	if err == nil {
		request.Header.Flags |= netlink.Acknowledge
		_, err = conn.Execute(request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold packets back: %w", err), conn.Close())
	}
	r.done.Go(r.receive)
	return r, nil
}

// set makes the delay of a queue, and the queue if there is none.
func (r *waitingRoom) set(number uint16, delay, jitter time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[number]
	if q == nil {
		request, err := configure(number)
		if err == nil {
			_, err = r.conn.Send(request)
		}
		if err != nil {
			return fmt.Errorf("hold packets back: %w", err)
		}
		q = &waitingQueue{number: number, packets: make(chan waitingPacket, queueLength)}
		r.queues[number] = q
		r.done.Go(func() { r.release(q) })
	}
	q.delay, q.jitter = delay, jitter
	return nil
}

// configure asks the kernel for a queue. Only the ids of packets are wanted, and
// packets that are larger than the cable's are not to be cut up.
func configure(number uint16) (netlink.Message, error) {
	attributes := netlink.NewAttributeEncoder()
	attributes.ByteOrder = binary.BigEndian
	attributes.Bytes(configureCommand, []byte{commandBind, 0, 0, unix.AF_INET})
	attributes.Bytes(configureParams, []byte{0, 0, 0, 0, copyMeta})
	attributes.Uint32(configureLength, queueLength)
	attributes.Uint32(configureMask, flagSegments)
	attributes.Uint32(configureFlags, flagSegments)
	return message(queueConfigure, number, attributes)
}

// verdict lets a packet go on.
func verdict(number uint16, id uint32) (netlink.Message, error) {
	attributes := netlink.NewAttributeEncoder()
	header := binary.BigEndian.AppendUint32(nil, verdictAccept)
	attributes.Bytes(attributeVerdictHeader, binary.BigEndian.AppendUint32(header, id))
	return message(queueVerdict, number, attributes)
}

func message(kind netlink.HeaderType, number uint16, attributes *netlink.AttributeEncoder) (netlink.Message, error) {
	body, err := attributes.Encode()
	if err != nil {
		return netlink.Message{}, err
	}
	header := []byte{unix.AF_INET, unix.NFNETLINK_V0, byte(number >> 8), byte(number)}
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request},
		Data:   append(header, body...),
	}, nil
}

// receive gives each packet its time, until the room is closed.
func (r *waitingRoom) receive() {
	for {
		messages, err := r.conn.Receive()
		if err != nil && r.isClosed() {
			return
		}
		// Otherwise there was no room for a message: its packet is lost.
		now := time.Now()
		for _, message := range messages {
			if message.Header.Type == queuePacket {
				r.admit(message.Data, now)
			}
		}
	}
}

func (r *waitingRoom) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// admit puts a packet in its queue.
func (r *waitingRoom) admit(message []byte, now time.Time) {
	if len(message) < messageHeaderLen {
		return
	}
	id, ok := packetID(message[messageHeaderLen:])
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.queues[binary.BigEndian.Uint16(message[2:])]
	if !ok || q == nil || r.closed {
		return
	}
	due := now.Add(q.delay)
	if q.jitter > 0 {
		due = due.Add(rand.N(2*q.jitter+1) - q.jitter)
	}
	// The kernel holds no more packets than fit.
	q.packets <- waitingPacket{id, due}
}

func packetID(attributes []byte) (id uint32, ok bool) {
	decoder, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return 0, false
	}
	for decoder.Next() {
		if value := decoder.Bytes(); decoder.Type() == attributePacketHeader && len(value) >= 4 {
			return binary.BigEndian.Uint32(value), true
		}
	}
	return 0, false
}

// release lets the packets of a queue go on when their time has come, and that of all
// before them.
func (r *waitingRoom) release(q *waitingQueue) {
	for packet := range q.packets {
		time.Sleep(time.Until(packet.due))
		accept, err := verdict(q.number, packet.id)
		if err == nil {
			_, err = r.conn.Send(accept)
		}
		if err != nil && r.isClosed() {
			return
		}
	}
}

// close ends the holding back; the kernel drops what waits.
func (r *waitingRoom) close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	for _, q := range r.queues {
		close(q.packets)
	}
	r.mu.Unlock()
	err := r.conn.Close()
	r.done.Wait()
	return err
}
