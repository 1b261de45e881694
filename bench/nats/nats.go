package nats

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tidemark/bench/process"
	"tidemark/bench/system"
)

const (
	nodes  = 3
	stream = "TL"
)

// System is NATS JetStream.
type System struct {
	// SyncAlways fsyncs each message before it is acknowledged; the default of NATS does
	// not, but every two minutes.
	SyncAlways bool

	binary string
}

// The ways.
const (
	wayPublish   = "publish"
	wayDirectGet = "direct get, in batches"
	wayConsumer  = "pull consumer"
	wayOrdered   = "ordered consumer"
)

// Describe implements system.System.
func (s *System) Describe() system.Description {
	d := system.Description{
		Name: "nats", Title: "NATS JetStream (`sync_interval: always`)", Nodes: nodes,
		Acknowledged: "fsynced by a majority",
		Retry:        "recognized by its message id for two minutes",
		Config: "Three `nats-server` with routes on loopback and `jetstream { sync_interval: always }`; one file stream of `tl.>` with `Replicas: 3`, `Duplicates: 2m` and `AllowDirect`. " +
			"One connection, to the node that leads the stream. Publish: `PublishMsg` with a message id; 4,096 in flight: `PublishMsgAsync`. " +
			"Reads: a direct get of a batch of one subject, or a pull consumer of one subject that is made for two pages and fetches 100 twice; the messages of a subject lie among those of all others. " +
			"Tail: one ordered consumer of all subjects.",
		Ways: map[system.Kind][]string{
			system.Append:    {wayPublish},
			system.Pipelined: {wayPublish},
			system.Read:      {wayDirectGet, wayConsumer},
			system.Tail:      {wayOrdered},
		},
	}
	if !s.SyncAlways {
		d.Name, d.Title, d.NotDurable = "nats-default", "NATS JetStream (default sync)", true
		d.Acknowledged = "in the page caches of a majority; fsynced within two minutes"
		d.Config = "The same without `sync_interval`, which then is two minutes. Reads are not measured again, because they do not depend on it."
		delete(d.Ways, system.Read)
		delete(d.Ways, system.Tail)
	}
	return d
}

// Prepare implements system.System.
func (s *System) Prepare(ctx context.Context, env system.Env) (version string, err error) {
	s.binary, version, err = env.BuildServer(ctx, "github.com/nats-io/nats-server/v2", "nats-server")
	return version, err
}

type cluster struct {
	process.Group
	urls map[string]string // by node
}

// Start implements system.System.
func (s *System) Start(ctx context.Context, dir string) (_ system.Cluster, err error) {
	c := &cluster{urls: make(map[string]string)}
	defer func() {
		if err != nil {
			_ = c.Stop() // why it did not start says more
		}
	}()
	addresses, err := process.FreeAddresses(2 * nodes)
	if err != nil {
		return nil, err
	}
	names := []string{"n1", "n2", "n3"}
	dirs, err := system.Dirs(dir, names...)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		c.urls[name] = "nats://" + addresses[i]
		config := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(config, []byte(s.config(name, dirs[i], addresses[i], addresses[nodes+i], addresses[nodes:])), 0o644); err != nil {
			return nil, err
		}
		if _, err := c.Group.Start(process.Command{Name: name, Path: s.binary, Args: []string{"-c", config}, Log: filepath.Join(dir, name+".log")}); err != nil {
			return nil, err
		}
	}
	return c, c.Group[0].WaitReady(ctx, c.makeStream)
}

func (s *System) config(name, dir, listen, route string, routes []string) string {
	sync := ""
	if s.SyncAlways {
		sync = "sync_interval: always"
	}
	return fmt.Sprintf(`server_name: %s
listen: %s
jetstream { store_dir: %q, %s }
cluster { name: bench, listen: %s, routes: [%s] }
`, name, listen, dir, sync, route, "nats://"+strings.Join(routes, ", nats://"))
}

// attemptTimeout bounds one attempt to make the stream, which hangs while nobody leads.
const attemptTimeout = 2 * time.Second

// makeStream makes the stream, unless it is there, and waits until all replicas follow.
func (c *cluster) makeStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	connection, err := nats.Connect(c.urls["n1"])
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := jetstream.New(connection)
	if err != nil {
		return err
	}
	made, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{"tl.>"}, Storage: jetstream.FileStorage, Replicas: nodes, Duplicates: 2 * time.Minute, AllowDirect: true,
	})
	if err != nil {
		return err
	}
	info, err := made.Info(ctx)
	if err != nil {
		return err
	}
	if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != nodes-1 {
		return fmt.Errorf("the stream has no leader: %+v", info.Cluster)
	}
	for _, replica := range info.Cluster.Replicas {
		if !replica.Current {
			return fmt.Errorf("replica %s does not follow", replica.Name)
		}
	}
	return nil
}

// connect connects to the node that leads the stream.
func (c *cluster) connect(ctx context.Context) (*nats.Conn, jetstream.JetStream, error) {
	connection, js, err := open(c.urls["n1"])
	if err != nil {
		return nil, nil, err
	}
	defer connection.Close()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, nil, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return nil, nil, err
	}
	return open(c.urls[info.Cluster.Leader])
}

// open opens a connection that stays with its node.
func open(url string) (*nats.Conn, jetstream.JetStream, error) {
	connection, err := nats.Connect(url, nats.DontRandomize(), nats.IgnoreDiscoveredServers())
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(connection, jetstream.WithPublishAsyncMaxPending(maxPending))
	if err != nil {
		connection.Close()
		return nil, nil, err
	}
	return connection, js, nil
}

// Stop implements system.Cluster.
func (c *cluster) Stop() error { return c.Group.Stop(syscall.SIGTERM) }
