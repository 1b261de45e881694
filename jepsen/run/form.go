//go:build linux

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"tidemark/client"
	"tidemark/jepsen/disk"
	"tidemark/jepsen/history"
	"tidemark/jepsen/host"
	"tidemark/jepsen/nemesis"
	"tidemark/jepsen/workload"
	pb "tidemark/rpc/tidemarkv1"
)

// formTimeout is how long the first start of all nodes may take.
const formTimeout = 60 * time.Second

// freeDoors are the SDK clients that choose their nodes themselves, and
// freeDoorsOfTrials those of a run that measures what such clients see.
const (
	freeDoors         = 2
	freeDoorsOfTrials = 4
)

// form starts the cluster and connects clients to it.
func (r *run) form(ctx context.Context) error {
	options := host.Options{
		Binary: r.Binary, OldBinary: r.OldBinary, Dir: r.path("nodes"), Nodes: r.Nodes,
		Args: r.nodeArgs(), Env: r.Env, Loopback: r.Loopback, Logger: r.Logger,
	}
	if r.wantsDisk() {
		if err := disk.Supported(); err != nil {
			r.Logger.Warn("no disks that can be harmed", "error", err)
		} else {
			options.NewDisk = r.newDisk
		}
	}
	r.recorder = history.NewRecorder(history.Meta{
		Name: "tidemark", Seed: r.Seed, Mix: r.Mix, Version: r.Version, CommandLine: r.CommandLine,
	})
	r.logs = newLogs(r.Binary, r.Env, r.recorder)
	options.Inspect = func(n host.Node) { r.logs.read(ctx, n) }
	var err error
	if r.host, err = host.New(options); err != nil {
		return err
	}
	if r.nemeses, err = r.choose(r.host.Supports); err != nil {
		return err
	}
	r.env = &workload.Environment{
		Recorder: r.recorder, Board: workload.NewBoard(r.Hot, r.Cold), Seed: r.Seed, Patience: r.Patience,
	}
	r.watch = newWatch(r)
	r.watch.enter(Forming)
	forming, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	if err := r.host.Form(forming); err != nil {
		return err
	}
	return r.connect()
}

// choose returns the nemeses of the mix.
func (r *run) choose(supports func(host.Feature) bool) ([]nemesis.Nemesis, error) {
	if r.Trials > 0 {
		return nemesis.ChooseFailovers(r.Mix, supports)
	}
	return nemesis.Choose(r.Mix, supports)
}

// wantsDisk reports whether a nemesis of the mix needs disks, or loses more with them.
func (r *run) wantsDisk() bool {
	if r.NoDisk {
		return false
	}
	if r.Trials > 0 {
		return slices.Contains(r.Mix, "disk-hang-leader")
	}
	return nemesis.Want(r.Mix, host.FeatureDisk) || slices.Contains(r.Mix, "part-kill") || slices.Contains(r.Mix, "pause-kill")
}

// newDisk mounts a disk at dir. What it holds is in a folder beside it.
func (r *run) newDisk(id host.NodeID, dir string) (host.Disk, error) {
	backing := filepath.Join(filepath.Dir(dir), "disk")
	if err := os.MkdirAll(backing, 0o755); err != nil {
		return nil, err
	}
	mounted, err := disk.Mount(backing, dir, disk.Options{Seed: r.Seed, Logger: r.Logger.With("disk", id)})
	if err != nil {
		return nil, err
	}
	return dataDisk{mounted}, nil
}

// dataDisk is a disk with the node's directory in it: a damaged one is moved aside,
// which a mountpoint cannot be.
type dataDisk struct{ *disk.Disk }

func (d dataDisk) DataDir() string { return filepath.Join(d.Disk.DataDir(), "tidemark") }

// connect opens the doors: one to each node, and some that lead anywhere.
func (r *run) connect() error {
	if err := r.connectFree(); err != nil {
		return err
	}
	return r.openDoors()
}

func (r *run) connectFree() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.operator, err = r.newClient(r.host.Endpoints()); err != nil {
		return err
	}
	count := freeDoors
	if r.Trials > 0 {
		count = freeDoorsOfTrials
	}
	for i := range count {
		sdk, err := r.newClient(r.host.Endpoints())
		if err != nil {
			return err
		}
		r.free = append(r.free, &workload.Door{Name: fmt.Sprintf("free-%d", i+1), SDK: sdk})
	}
	return nil
}

// openDoors opens a door to each node that is new, and closes those to nodes that
// were removed.
func (r *run) openDoors() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := slices.Clone(r.free)
	for _, n := range r.host.Nodes() {
		id := string(n.ID())
		if r.doors[id] == nil {
			door, err := r.doorTo(n)
			if err != nil {
				return err
			}
			r.doors[id] = door
			r.everyNode = append(r.everyNode, id)
		}
		open = append(open, r.doors[id])
	}
	r.env.SetDoors(open)
	return nil
}

// doorTo connects to a node. The caller holds mu.
func (r *run) doorTo(n host.Node) (*workload.Door, error) {
	sdk, err := r.newClient([]string{n.Endpoint()}, client.WithoutDiscovery())
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("passthrough:///"+n.Endpoint(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(r.host.Dial),
		// A node that was away is found again as soon as it is back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", n.ID(), err)
	}
	r.conns = append(r.conns, conn)
	id := string(n.ID())
	return &workload.Door{Name: "at-" + id, Node: id, SDK: sdk, Unary: pb.NewTimelineServiceClient(conn)}, nil
}

// newClient makes a client that ends with the run. The caller holds mu.
func (r *run) newClient(endpoints []string, options ...client.Option) (*client.Client, error) {
	options = append(options,
		client.WithDialOptions(grpc.WithContextDialer(r.host.Dial)),
		// At the end, what was given up is not waited for.
		client.WithDrainTimeout(time.Second))
	c, err := client.New(endpoints, options...)
	if err == nil {
		r.clients = append(r.clients, c)
	}
	return c, err
}

// leave gives back everything but the folder. The nodes end without being asked.
func (r *run) leave() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// Each waits for what is under way, which may be lost: so all at once.
	errs := make([]error, len(r.clients))
	var group sync.WaitGroup
	for i, c := range r.clients {
		group.Go(func() { errs[i] = c.Close() })
	}
	group.Wait()
	for _, c := range r.conns {
		errs = append(errs, c.Close())
	}
	if r.host != nil {
		r.troubles.exits(r)
		errs = append(errs, r.host.Close())
	}
	return errors.Join(errs...)
}

// nodeArgs are those of the options, and one that the oldest kept version does not know:
// policies are looked at every second, and not only every minute.
func (r *run) nodeArgs() []string {
	if r.OldBinary != "" {
		return r.Args
	}
	return append([]string{"--retention-interval=1s"}, r.Args...)
}
