//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidemark"
	"tidemark/jepsen/host"
	pb "tidemark/rpc/tidemarkv1"
)

func members() []named {
	return []named{
		{name: "transfer", lane: Leaders, what: "leadership is handed to another node", inject: transfer},
		{name: "remove", lane: Processes, what: "one node, which may be the leader, is removed while it runs; a new one joins when healed", inject: remove},
		{name: "replace", lane: Processes, what: "one node is killed and removed for good, and a new one joins", inject: replace},
		{name: "grow-shrink", lane: Processes, what: "two nodes join and work for a while, and then two, which may be the first ones or the leader, are removed", inject: growShrink},
		{name: "install", lane: Processes, what: "one node is away until it needs a snapshot, and is killed again and again while it is sent one", inject: install},
	}
}

// operatorTimeout bounds one request of an operator, which waits while there is no leader.
const operatorTimeout = 15 * time.Second

func transfer(ctx context.Context, w *World) (Harm, error) {
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	leader, err := w.Operator.Cluster().TransferLeadership(ctx, "")
	return Harm{Target: leader, Detail: "leadership transferred"}, err
}

// remove leaves the cluster smaller by one, until it is healed.
func remove(ctx context.Context, w *World) (Harm, error) {
	victim := shuffled(w.Cluster.Nodes(), w.Rand)[0]
	harm := Harm{Target: string(victim.ID()), Outcome: new(string)}
	if err := expel(ctx, w, victim); err != nil {
		harm.Heal = func() error { return startAll([]host.Node{victim}) }
		return harm, err
	}
	harm.Detail = "removed"
	harm.Heal = func() error {
		added, err := join(context.Background(), w)
		if added != nil {
			*harm.Outcome = fmt.Sprintf("%s joined", added.ID())
		}
		return err
	}
	return harm, nil
}

// replace takes away one node and brings in another.
func replace(ctx context.Context, w *World) (Harm, error) {
	victim := shuffled(w.Cluster.Nodes(), w.Rand)[0]
	harm := Harm{Target: string(victim.ID())}
	if err := expel(ctx, w, victim); err != nil {
		harm.Heal = func() error { return startAll([]host.Node{victim}) }
		return harm, err
	}
	added, err := join(ctx, w)
	if added != nil {
		harm.Detail = fmt.Sprintf("removed; %s joined", added.ID())
		harm.Heal = func() error { return startAll([]host.Node{added}) }
	}
	return harm, err
}

// growShrink makes the cluster larger by two and then as large as it was.
func growShrink(ctx context.Context, w *World) (Harm, error) {
	harm := Harm{Heal: func() error { return startAll(w.Cluster.Nodes()) }}
	for range 2 {
		added, err := join(ctx, w)
		if added != nil {
			harm.Target += string(added.ID()) + " "
		}
		if err != nil {
			return harm, err
		}
	}
	wait(ctx, writing(w))
	harm.Detail = "joined; removed:"
	for _, victim := range shuffled(w.Cluster.Nodes(), w.Rand)[:2] {
		if err := expel(ctx, w, victim); err != nil {
			return harm, err
		}
		harm.Detail += " " + string(victim.ID())
	}
	return harm, nil
}

// expel removes a member for good, and then its process and identity.
func expel(ctx context.Context, w *World, victim host.Node) error {
	if err := askUntilDone(ctx, func(ctx context.Context) error {
		_, err := w.Operator.Cluster().RemoveMember(ctx, string(victim.ID()))
		if errors.Is(err, tidemark.ErrMemberNotFound) {
			return nil
		}
		return err
	}); err != nil {
		return fmt.Errorf("remove %s: %w", victim.ID(), err)
	}
	return w.Cluster.Remove(victim.ID())
}

// join starts a new node and waits until it votes.
func join(ctx context.Context, w *World) (host.Node, error) {
	added, err := w.Cluster.Add()
	if err != nil {
		return nil, err
	}
	if err := added.Start(); err != nil {
		return added, err
	}
	return added, askUntilDone(ctx, func(ctx context.Context) error {
		status, err := w.Operator.Cluster().Status(ctx)
		if err != nil {
			return err
		}
		for _, member := range status.GetMembers() {
			if member.GetNodeId() == string(added.ID()) && member.GetRole() == pb.MemberRole_MEMBER_ROLE_VOTER {
				return nil
			}
		}
		return fmt.Errorf("%s does not vote yet", added.ID())
	})
}

// changeTimeout bounds one change of members, which waits for a leader and for the
// new node to catch up.
const changeTimeout = 60 * time.Second

// askUntilDone asks until it succeeds, also after ctx has ended: of a change that is
// given up nobody knows whether it was made. Changes of members can be repeated: what
// was done already is no error, or one that the caller knows.
func askUntilDone(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	for {
		attempt, cancelAttempt := context.WithTimeout(ctx, operatorTimeout)
		err := ask(attempt)
		cancelAttempt()
		if err == nil {
			return nil
		}
		if !wait(ctx, 200*time.Millisecond) {
			return err
		}
	}
}
