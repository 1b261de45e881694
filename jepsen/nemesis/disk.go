//go:build linux

package nemesis

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"tidemark/jepsen/disk"
	"tidemark/jepsen/host"
)

func disks() []named {
	needs := []host.Feature{host.FeatureDisk}
	var all []named
	for _, c := range choosers() {
		all = append(all, named{name: "power-" + c.who, lane: Processes, needs: needs,
			what:   "power failure of " + c.who + ": SIGKILL, and what was not fsynced survives or not, sector by sector; started again when healed",
			inject: func(ctx context.Context, w *World) (Harm, error) { return powerFailure(ctx, w, c) }})
	}
	return append(all,
		diskFault("disk-full", "a few KiB are left on the disk of one node", func(w *World, c disk.Control) (string, error) {
			c.Fill(32 << 10)
			return "32 KiB left", nil
		}),
		diskFault("disk-slow", "each fsync of one node takes long", func(w *World, c disk.Control) (string, error) {
			d := between(w, 20*time.Millisecond, 400*time.Millisecond).Round(time.Millisecond)
			_, err := c.Stall(disk.Rule{Ops: disk.OpsSync}, d)
			return fmt.Sprintf("fsync takes %v", d), err
		}),
		diskFault("disk-hang", "fsync of one node does not return", func(w *World, c disk.Control) (string, error) {
			_, err := c.Stall(disk.Rule{Ops: disk.OpsSync}, 0)
			return "fsync hangs", err
		}),
		diskFault("disk-failing", "a write, fsync or read of one node fails", func(w *World, c disk.Control) (string, error) {
			ops := []disk.Ops{disk.OpWrite, disk.OpsSync, disk.OpRead}[w.Rand.IntN(3)]
			_, err := c.Fail(disk.Rule{Ops: ops, Skip: w.Rand.IntN(50), Probability: 0.2}, syscall.EIO)
			return fmt.Sprintf("EIO for operations %#x", uint32(ops)), err
		}),
	)
}

// refused is the exit status of a node that does not go on with its data.
const refused = 3

// MayEnd reports whether a node is allowed to end its process, with the exit status,
// for what the nemesis with this name does to it. Damage must be refused, not trip
// it up.
func MayEnd(name string, status int) bool {
	switch name {
	case "disk-full", "disk-hang", "disk-hang-leader", "disk-failing", "disk-slow":
		return true
	case "disk-corrupt", "log-corrupt":
		return status == refused
	}
	return false
}

// diskFault does something to the disk of one node, which is healed and started again.
func diskFault(name, what string, do func(*World, disk.Control) (string, error)) named {
	return named{name: name, lane: Processes, needs: []host.Feature{host.FeatureDisk}, what: what,
		inject: func(_ context.Context, w *World) (Harm, error) {
			nodes := shuffled(w.Cluster.Nodes(), w.Rand)[:1]
			control, err := controlOf(nodes[0])
			if err != nil {
				return Harm{}, err
			}
			detail, err := do(w, control)
			return Harm{Target: names(nodes), Detail: detail, Heal: func() error {
				control.Heal()
				// A node that cannot trust its disk ends, or is about to.
				return settle(nodes[0])
			}}, err
		}}
}

// settle starts a node that has ended, and gives one that is ending time to do so.
func settle(n host.Node) error {
	for range 10 {
		if !n.Running() {
			return startAll([]host.Node{n})
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

func controlOf(n host.Node) (disk.Control, error) {
	control, ok := n.Disk().(disk.Control)
	if !ok {
		return nil, fmt.Errorf("node %s has no disk that can be harmed", n.ID())
	}
	return control, nil
}

func powerFailure(ctx context.Context, w *World, c chooser) (Harm, error) {
	nodes, err := c.pick(ctx, w)
	if err != nil {
		return Harm{}, err
	}
	harm := Harm{Target: names(nodes), Heal: func() error { return startAll(nodes) }}
	harm.Detail, err = cutPower(w, nodes)
	return harm, err
}

// cutPower kills the nodes at once and takes what they had not synced.
func cutPower(w *World, nodes []host.Node) (detail string, err error) {
	if err := w.Cluster.Kill(ids(nodes)...); err != nil {
		return "SIGKILL", err
	}
	var errs []error
	lost := 0
	for _, n := range nodes {
		control, err := controlOf(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		loss, err := control.PowerFailure(w.Rand.Uint64())
		errs = append(errs, err)
		lost += loss.Sectors
	}
	return fmt.Sprintf("power failure, %d unsynced sectors lost", lost), errors.Join(errs...)
}
