package client

import (
	"time"

	"google.golang.org/protobuf/proto"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// Consistency says what a read may show. It can be given to every read.
type Consistency struct {
	level        level
	position     tidemark.Position
	maxStaleness time.Duration
}

type level uint8

const (
	levelLinearizable level = iota
	levelSession
	levelAt
	levelLocal
)

// Linearizable shows everything that anyone was told to be done before the read
// began. It is the default.
func Linearizable() Consistency { return Consistency{level: levelLinearizable} }

// Session shows everything that this client was told or shown before: it reads
// its own writes, and never goes back in time. It costs the leader nothing.
func Session() Consistency { return Consistency{level: levelSession} }

// SessionAt shows everything up to position, such as that of an AppendResult.
func SessionAt(position tidemark.Position) Consistency {
	return Consistency{level: levelAt, position: position}
}

// Local shows whatever the asked node has. If maxStaleness is not 0, a node that
// last heard from a leader longer ago than that (in whole milliseconds) is not
// good enough, and another one is asked.
func Local(maxStaleness time.Duration) Consistency {
	return Consistency{level: levelLocal, maxStaleness: maxStaleness}
}

// Position is the newest position that this client has seen in any reply.
func (c *Client) Position() tidemark.Position { return tidemark.Position(c.seen.Load()) }

// Observe makes Session reads of this client show everything up to position. It
// carries a session from one process to another: see Position, and
// tidemark.Position.Token and tidemark.ParsePosition for its opaque form.
func (c *Client) Observe(position tidemark.Position) {
	for {
		seen := c.seen.Load()
		if uint64(position) <= seen || c.seen.CompareAndSwap(seen, uint64(position)) {
			return
		}
	}
}

// observeToken observes the position of a reply. A token that it cannot read is
// an error of the node, and fails the call: a session that silently forgot a
// position would break its promise.
func (c *Client) observeToken(token []byte) (tidemark.Position, error) {
	position, err := tidemark.ParsePosition("position", token)
	if err != nil {
		return 0, err
	}
	c.Observe(position)
	return position, nil
}

// consistency renders the level as of now.
func (c *Client) consistency(chosen Consistency) *pb.Consistency {
	switch chosen.level {
	case levelSession:
		return sessionAt(c.Position())
	case levelAt:
		return sessionAt(chosen.position)
	case levelLocal:
		local := &pb.Consistency_Local{}
		if chosen.maxStaleness > 0 {
			local.MaxStalenessMillis = proto.Uint64(uint64(max(chosen.maxStaleness.Milliseconds(), 1)))
		}
		return &pb.Consistency{Level: &pb.Consistency_Local_{Local: local}}
	default:
		return &pb.Consistency{Level: &pb.Consistency_Linearizable_{Linearizable: &pb.Consistency_Linearizable{}}}
	}
}

func sessionAt(position tidemark.Position) *pb.Consistency {
	return &pb.Consistency{Level: &pb.Consistency_Session_{
		Session: &pb.Consistency_Session{Position: position.Token()},
	}}
}
