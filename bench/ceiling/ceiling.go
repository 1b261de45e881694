package ceiling

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	words "tidemark"
	"tidemark/bench/process"
	"tidemark/bench/system"
	"tidemark/client"
	"tidemark/rpc/tidemarkv1"
)

const (
	nodes  = 3
	waySDK = "SDK"
)

// System is the bare library.
type System struct{ binary string }

// Describe implements system.System.
func (s *System) Describe() system.Description {
	return system.Description{
		Name: "ceiling", Title: "Ceiling: the bare library", Ceiling: true, Nodes: nodes,
		Acknowledged: "fsynced by a majority; nothing is applied or kept to be read",
		Retry:        "not recognized",
		Config: "Three processes with one hashicorp/raft node each, Tidemark's log store and Raft settings, and a state machine that does nothing. Entries are gathered within Tidemark's bounds, two in flight. " +
			"The door is Tidemark's `AppendStream` without validation and admission, and the client is Tidemark's SDK.",
		Ways: map[system.Kind][]string{system.Append: {waySDK}, system.Pipelined: {waySDK}},
	}
}

// Prepare implements system.System.
func (s *System) Prepare(ctx context.Context, env system.Env) (version string, err error) {
	if s.binary, err = env.GoBuild(ctx, "ceiling/node", ".", "ceiling-node"); err != nil {
		return "", err
	}
	info, err := buildinfo.ReadFile(s.binary)
	if err != nil {
		return "", err
	}
	for _, dependency := range info.Deps {
		if dependency.Path == "github.com/hashicorp/raft" {
			return dependency.Version, nil
		}
	}
	return "", fmt.Errorf("%s was built without hashicorp/raft", s.binary)
}

type cluster struct {
	process.Group
	endpoints []string
}

// Start implements system.System.
func (s *System) Start(ctx context.Context, dir string) (_ system.Cluster, err error) {
	addresses, err := process.FreeAddresses(2 * nodes)
	if err != nil {
		return nil, err
	}
	names := []string{"n1", "n2", "n3"}
	dirs, err := system.Dirs(dir, names...)
	if err != nil {
		return nil, err
	}
	c := &cluster{endpoints: addresses[:nodes]}
	members := make([]string, nodes)
	for i, name := range names {
		members[i] = name + "=" + addresses[nodes+i] + "=" + addresses[i]
	}
	for i, name := range names {
		if _, err := c.Group.Start(process.Command{
			Name: name, Path: s.binary, Log: filepath.Join(dir, name+".log"),
			Args: []string{"--id", name, "--dir", dirs[i], "--members", strings.Join(members, ",")},
		}); err != nil {
			_ = c.Stop() // why it did not start says more
			return nil, err
		}
	}
	if err := c.Group[0].WaitReady(ctx, c.led); err != nil {
		_ = c.Stop()
		return nil, err
	}
	return c, nil
}

// attemptTimeout bounds one attempt to find out who leads.
const attemptTimeout = time.Second

// led is nil once all nodes name the same leader.
func (c *cluster) led(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	leaders := make(map[string]bool)
	for _, endpoint := range c.endpoints {
		connection, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer connection.Close()
		status, err := tidemarkv1.NewClusterServiceClient(connection).Status(ctx, &tidemarkv1.StatusRequest{})
		if err != nil {
			return err
		}
		leaders[status.GetLeaderId()] = true
	}
	if len(leaders) != 1 || leaders[""] {
		return fmt.Errorf("no leader is known to all: %v", leaders)
	}
	return nil
}

// Fill implements system.Cluster, and is never called: nothing can be read.
func (c *cluster) Fill(context.Context) error { return fmt.Errorf("the ceiling keeps nothing") }

// Open implements system.Cluster.
func (c *cluster) Open(_ context.Context, kind system.Kind, way string, _ int) (*system.Driver, error) {
	if way != waySDK {
		return nil, system.UnknownWay(kind, way)
	}
	sdk, err := client.New(c.endpoints)
	if err != nil {
		return nil, err
	}
	return &system.Driver{
		Call: func(ctx context.Context, _ int) error {
			_, err := sdk.Append(ctx, client.Draft{
				Timeline: words.TimelineID(fmt.Sprintf("tl/%d", system.AnyTimeline())), Sender: "bench", Payload: system.NewPayload(),
			})
			return err
		},
		Close: func() { _ = sdk.Close() }, // what was measured is measured
	}, nil
}

// Stop implements system.Cluster.
func (c *cluster) Stop() error { return c.Group.Stop(syscall.SIGTERM) }
