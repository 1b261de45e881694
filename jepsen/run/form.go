package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// freeDoors are the SDK clients that choose their nodes themselves.
const freeDoors = 2

// form starts the cluster and connects clients to it.
func (r *run) form(ctx context.Context) error {
	options := host.Options{
		Binary: r.Binary, Dir: r.path("nodes"), Nodes: r.Nodes,
		Args: r.Args, Env: r.Env, Loopback: r.Loopback, Logger: r.Logger,
	}
	if r.wantsDisk() {
		if err := disk.Supported(); err != nil {
			r.Logger.Warn("no disks that can be harmed", "error", err)
		} else {
			options.NewDisk = r.newDisk
		}
	}
	var err error
	if r.host, err = host.New(options); err != nil {
		return err
	}
	if r.nemeses, err = nemesis.Choose(r.Mix, r.host.Supports); err != nil {
		return err
	}
	r.recorder = history.NewRecorder(history.Meta{
		Name: "tidemark", Seed: r.Seed, Mix: r.Mix, Version: r.Version, CommandLine: r.CommandLine,
	})
	r.env = &workload.Environment{
		Recorder: r.recorder, Board: workload.NewBoard(r.Hot, r.Cold), Seed: r.Seed, Patience: r.Patience,
	}
	r.watch = newWatch(r)
	r.watch.enter(Forming)
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	if err := r.host.Form(ctx); err != nil {
		return err
	}
	return r.connect()
}

// wantsDisk reports whether a nemesis of the mix needs disks, or loses more with them.
func (r *run) wantsDisk() bool {
	if r.NoDisk {
		return false
	}
	chosen, err := nemesis.Choose(r.Mix, func(host.Feature) bool { return true })
	return err == nil && slices.ContainsFunc(chosen, func(n nemesis.Nemesis) bool {
		return slices.Contains(n.Needs(), host.FeatureDisk) || n.Name() == "part-kill" || n.Name() == "pause-kill"
	})
}

// newDisk mounts a disk at dir. What it holds is in a folder beside it.
func (r *run) newDisk(id host.NodeID, dir string) (host.Disk, error) {
	backing := filepath.Join(filepath.Dir(dir), "disk")
	if err := os.MkdirAll(backing, 0o755); err != nil {
		return nil, err
	}
	return disk.Mount(backing, dir, disk.Options{Seed: r.Seed, Logger: r.Logger.With("disk", id)})
}

// connect opens the doors: one to each node, and some that lead anywhere.
func (r *run) connect() error {
	var err error
	if r.operator, err = r.newClient(r.host.Endpoints()); err != nil {
		return err
	}
	for _, n := range r.host.Nodes() {
		sdk, err := r.newClient([]string{n.Endpoint()}, client.WithoutDiscovery())
		if err != nil {
			return err
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
			return fmt.Errorf("connect to %s: %w", n.ID(), err)
		}
		id := string(n.ID())
		r.env.Doors = append(r.env.Doors, &workload.Door{Name: "at-" + id, Node: id, SDK: sdk, Unary: pb.NewTimelineServiceClient(conn)})
	}
	for i := range freeDoors {
		sdk, err := r.newClient(r.host.Endpoints())
		if err != nil {
			return err
		}
		r.env.Doors = append(r.env.Doors, &workload.Door{Name: fmt.Sprintf("free-%d", i+1), SDK: sdk})
	}
	return nil
}

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
	var errs []error
	for _, c := range r.clients {
		errs = append(errs, c.Close())
	}
	if r.host != nil {
		r.troubles.exits(r)
		errs = append(errs, r.host.Close())
	}
	return errors.Join(errs...)
}
