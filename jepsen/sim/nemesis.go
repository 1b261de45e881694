package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"tidemark/jepsen/history"
)

// nemesis injures a cluster, one fault after another. Several run beside each
// other, so that their faults overlap.
type nemesis struct {
	cluster  *Cluster
	recorder *history.Recorder
	rng      *rand.Rand
}

// fault is one kind of injury. inject returns what was hit, and how to heal it.
type fault struct {
	name   string
	inject func(n *nemesis) (target string, heal func())
}

// networkFaults, processFaults and otherFaults each belong to one nemesis.
var (
	networkFaults = []fault{
		{"isolate", func(n *nemesis) (string, func()) { return n.split(n.some(1)) }},
		{"isolate-leader", func(n *nemesis) (string, func()) { return n.split(n.leaderOrSome()) }},
		{"majority-minority", func(n *nemesis) (string, func()) { return n.split(n.some((len(n.cluster.Nodes) - 1) / 2)) }},
		{"one-way", func(n *nemesis) (string, func()) { return n.oneWay(n.leaderOrSome()[0]) }},
		{"bridge", (*nemesis).bridge},
		{"ring", (*nemesis).ring},
		{"slow", func(n *nemesis) (string, func()) {
			return n.links("all", Link{Delay: time.Duration(n.rng.Int64N(int64(400 * time.Millisecond))), Jitter: 300 * time.Millisecond})
		}},
		{"lossy", func(n *nemesis) (string, func()) {
			return n.links("all", Link{Delay: usualLink.Delay, Jitter: usualLink.Jitter, Loss: 0.02 + 0.2*n.rng.Float64()})
		}},
		{"unruly", func(n *nemesis) (string, func()) {
			return n.links("all", Link{Delay: usualLink.Delay, Jitter: usualLink.Jitter, Unruly: 0.05 + 0.25*n.rng.Float64()})
		}},
		{"flapping", (*nemesis).flap},
	}
	processFaults = []fault{
		{"kill", func(n *nemesis) (string, func()) { return n.kill(n.some(1), false) }},
		{"kill-leader", func(n *nemesis) (string, func()) { return n.kill(n.leaderOrSome(), false) }},
		{"kill-majority", func(n *nemesis) (string, func()) { return n.kill(n.some(len(n.cluster.Nodes)/2+1), false) }},
		{"kill-all", func(n *nemesis) (string, func()) { return n.kill(n.some(len(n.cluster.Nodes)), false) }},
		{"power", func(n *nemesis) (string, func()) { return n.kill(n.some(1), true) }},
		{"power-leader", func(n *nemesis) (string, func()) { return n.kill(n.leaderOrSome(), true) }},
		{"power-majority", func(n *nemesis) (string, func()) { return n.kill(n.some(len(n.cluster.Nodes)/2+1), true) }},
		{"power-all", func(n *nemesis) (string, func()) { return n.kill(n.some(len(n.cluster.Nodes)), true) }},
		{"restart", (*nemesis).restart},
	}
	otherFaults = []fault{
		{"disk-slow", func(n *nemesis) (string, func()) {
			node := n.some(1)[0]
			node.faults.setFsync(time.Duration(n.rng.Int64N(int64(2 * time.Second))))
			return node.ID, func() { node.faults.setFsync(usualFsync) }
		}},
		{"disk-hangs", func(n *nemesis) (string, func()) {
			node := n.leaderOrSome()[0]
			return node.ID, node.faults.hang()
		}},
		{"clock-step", func(n *nemesis) (string, func()) {
			node := n.some(1)[0]
			node.clockOffset.Store(n.rng.Int64N(int64(2*time.Hour)) - int64(time.Hour))
			return node.ID, func() { node.clockOffset.Store(0) }
		}},
		{"transfer", (*nemesis).transfer},
		{"snapshot", (*nemesis).snapshot},
	}
)

// maxFault is how long a fault lasts at most. A disk that hangs longer than this
// could outlive the patience of a Shutdown.
const maxFault = 18 * time.Second

// work injures until stop is closed, and heals before it returns.
func (n *nemesis) work(stop <-chan struct{}, faults []fault) {
	for sleepUnless(stop, time.Duration(n.rng.Int64N(int64(10*time.Second)))) {
		f := faults[n.rng.IntN(len(faults))]
		from := n.recorder.Now()
		target, heal := f.inject(n)
		sleepUnless(stop, time.Duration(n.rng.Int64N(int64(maxFault))))
		heal()
		n.recorder.Fault(history.Fault{Name: f.name, Target: target, From: from, To: n.recorder.Now()})
	}
}

// some are so many nodes, chosen at random.
func (n *nemesis) some(count int) []*Node {
	var chosen []*Node
	for _, i := range n.rng.Perm(len(n.cluster.Nodes))[:count] {
		chosen = append(chosen, n.cluster.Nodes[i])
	}
	return chosen
}

func (n *nemesis) leaderOrSome() []*Node {
	if leader := n.cluster.leader(); leader != nil {
		return []*Node{leader}
	}
	return n.some(1)
}

func names(nodes []*Node) string {
	var ids []string
	for _, node := range nodes {
		ids = append(ids, node.ID)
	}
	return strings.Join(ids, ",")
}

// pairs calls do for each direction between two nodes.
func (n *nemesis) pairs(do func(from, to *Node)) {
	for _, from := range n.cluster.Nodes {
		for _, to := range n.cluster.Nodes {
			if from != to {
				do(from, to)
			}
		}
	}
}

var cutLink = Link{Delay: usualLink.Delay, Jitter: usualLink.Jitter, Cut: true}

func (n *nemesis) split(away []*Node) (string, func()) {
	apart := map[*Node]bool{}
	for _, node := range away {
		apart[node] = true
	}
	n.pairs(func(from, to *Node) {
		if apart[from] != apart[to] {
			n.cluster.Network.SetLink(from.ID, to.ID, cutLink)
		}
	})
	return names(away), n.cluster.Network.Heal
}

// oneWay lets a node hear and not be heard, or the other way round.
func (n *nemesis) oneWay(node *Node) (string, func()) {
	deaf := n.rng.IntN(2) == 0
	n.pairs(func(from, to *Node) {
		if deaf && to == node || !deaf && from == node {
			n.cluster.Network.SetLink(from.ID, to.ID, cutLink)
		}
	})
	return fmt.Sprintf("%s deaf=%v", node.ID, deaf), n.cluster.Network.Heal
}

// bridge leaves one node that reaches all, between two halves that do not reach
// each other.
func (n *nemesis) bridge() (string, func()) {
	order := n.some(len(n.cluster.Nodes))
	side := map[*Node]int{}
	for i, node := range order[1:] {
		side[node] = 1 + i%2
	}
	n.pairs(func(from, to *Node) {
		if side[from]+side[to] == 3 && side[from] > 0 && side[to] > 0 {
			n.cluster.Network.SetLink(from.ID, to.ID, cutLink)
		}
	})
	return names(order[:1]), n.cluster.Network.Heal
}

// ring leaves each node a majority of neighbours, and no two nodes the same one.
func (n *nemesis) ring() (string, func()) {
	order := n.some(len(n.cluster.Nodes))
	place := map[*Node]int{}
	for i, node := range order {
		place[node] = i
	}
	reach := len(order) / 4
	n.pairs(func(from, to *Node) {
		distance := (place[from] - place[to] + len(order)) % len(order)
		if min(distance, len(order)-distance) > max(reach, 1) {
			n.cluster.Network.SetLink(from.ID, to.ID, cutLink)
		}
	})
	return names(order), n.cluster.Network.Heal
}

func (n *nemesis) links(what string, state Link) (string, func()) {
	n.pairs(func(from, to *Node) { n.cluster.Network.SetLink(from.ID, to.ID, state) })
	return what, n.cluster.Network.Heal
}

// flap cuts a node off and lets it back several times.
func (n *nemesis) flap() (string, func()) {
	node := n.leaderOrSome()
	for range 2 + n.rng.IntN(5) {
		_, heal := n.split(node)
		time.Sleep(time.Duration(n.rng.Int64N(int64(3 * time.Second))))
		heal()
		time.Sleep(time.Duration(n.rng.Int64N(int64(2 * time.Second))))
	}
	return names(node), func() {}
}

// kill ends the processes of nodes at once; healing starts them again, each at
// another moment.
func (n *nemesis) kill(nodes []*Node, power bool) (string, func()) {
	for _, node := range nodes {
		if p := node.running(); p != nil {
			p.die(power)
		}
	}
	return names(nodes), func() {
		for _, node := range nodes {
			n.boot(node)
			time.Sleep(time.Duration(n.rng.Int64N(int64(2 * time.Second))))
		}
	}
}

// boot starts a node. That it does not start is a failure, unless it died meanwhile.
func (n *nemesis) boot(node *Node) {
	if err := node.start(); err != nil {
		n.cluster.noteFailure(err)
	}
}

func (n *nemesis) restart() (string, func()) {
	node := n.some(1)[0]
	if err := node.stop(); err != nil {
		n.cluster.noteFailure(err)
	}
	return node.ID, func() { n.boot(node) }
}

func (n *nemesis) transfer() (string, func()) {
	leader := n.cluster.leader()
	if leader == nil {
		return "", func() {}
	}
	if p := leader.running(); p != nil {
		ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
		defer cancel()
		// It may fail, for example while no other node is there.
		_, _ = p.raft.TransferLeadership(ctx, "")
	}
	return leader.ID, func() {}
}

func (n *nemesis) snapshot() (string, func()) {
	node := n.some(1)[0]
	if p := node.running(); p != nil {
		ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
		defer cancel()
		// It may fail, for example while the process ends.
		_, _, _ = p.raft.TakeSnapshot(ctx)
	}
	return node.ID, func() {}
}

// revive starts again what ended itself, as a supervisor does.
func (n *nemesis) revive(stop <-chan struct{}) {
	for sleepUnless(stop, time.Second) {
		n.cluster.mu.Lock()
		due := n.cluster.due
		n.cluster.due = nil
		n.cluster.mu.Unlock()
		for _, node := range due {
			n.boot(node)
		}
	}
}
