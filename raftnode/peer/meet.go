package peer

import (
	"context"
	"time"
)

// meetEvery is how soon a member that could not be met is tried again.
const meetEvery = time.Second

// Meet gets to know every member once, until ctx ends or the Mux closes. Raft's
// followers do not talk to each other, so without it a node that lost its disk
// would be new to the other followers, and could vote again together with one of
// them after the leader has gone. members returns the latest configuration.
func (m *Mux) Meet(ctx context.Context, members func() []Member) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	tick := time.NewTicker(meetEvery)
	defer tick.Stop()
	for {
		for _, member := range members() {
			if _, known := m.cfg.Registry.Known(member.ID); known || member.ID == m.cfg.NodeID {
				continue
			}
			conn, err := m.Dial(ctx, KindGRPC, member.ID, member.RaftAddress)
			if err != nil {
				// A member that is away is met when it is back; a refusal was reported.
				m.cfg.Logger.Debug("a member could not be met", "peer", member.ID, "error", err)
				continue
			}
			conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
