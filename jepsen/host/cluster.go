//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"tidemark/client"
	"tidemark/rpc/tidemarkv1"
)

// Host is a Cluster with what the one who runs it needs.
type Host struct {
	options Options
	logger  *slog.Logger
	network network
	// why tells why the nodes are on loopback although that was not asked for.
	why  error
	http *http.Client

	// mu guards what follows, and makes changes of the network one after the other.
	mu     sync.Mutex
	nodes  []*node
	gone   []*node
	links  links
	added  int
	closed bool
	// asker asks nodes for their status. It is made when it is first needed.
	asker *client.Client
}

var _ Cluster = (*Host)(nil)

// New describes a cluster of nodes n1, n2, … and starts none of them. It has to be
// closed. Where network namespaces cannot be had, the nodes are on loopback;
// Describe tells.
func New(options Options) (*Host, error) {
	if options.Nodes < 1 {
		return nil, fmt.Errorf("host: Nodes must be at least 1; it is %d", options.Nodes)
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	h := &Host{options: options, logger: options.Logger, links: links{}}
	if h.logger == nil {
		h.logger = slog.New(slog.DiscardHandler)
	}
	if err := h.connect(); err != nil {
		return nil, err
	}
	h.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return h.network.observe(ctx, address)
		},
	}}
	members := make([]string, options.Nodes)
	for i := range members {
		n, err := h.describe()
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		members[i] = string(n.id) + "=" + n.addresses.raftAdvertise
	}
	for _, n := range h.nodes {
		n.found = []string{"--initial-cluster", strings.Join(members, ",")}
		if options.OldBinary != "" {
			n.SetBinary(options.OldBinary)
		}
	}
	return h, nil
}

// connect makes the network: namespaces if they can be had.
func (h *Host) connect() (err error) {
	if !h.options.Loopback {
		if h.network, h.why = newSpaces(); h.why == nil {
			return nil
		}
		h.logger.Warn("no network namespaces; the nodes are on loopback", "error", h.why)
	}
	h.network, err = newRelays()
	return err
}

// describe adds a node without saying how it comes into the cluster. The caller
// holds mu, or is New.
func (h *Host) describe() (*node, error) {
	h.added++
	n := &node{
		host:   h,
		id:     NodeID(fmt.Sprintf("n%d", h.added)),
		binary: h.options.Binary,
		args:   h.options.Args,
	}
	n.dir = filepath.Join(h.options.Dir, string(n.id))
	n.dataDir = filepath.Join(n.dir, "data")
	if err := os.MkdirAll(n.dataDir, 0o755); err != nil {
		return nil, err
	}
	if err := n.SetClock(0); err != nil {
		return nil, err
	}
	if h.options.NewDisk != nil {
		disk, err := h.options.NewDisk(n.id, n.dataDir)
		if err != nil {
			return nil, fmt.Errorf("disk of %s: %w", n.id, err)
		}
		n.disk, n.dataDir = disk, disk.DataDir()
	}
	var err error
	if n.addresses, err = h.network.join(n.id); err != nil {
		return nil, errors.Join(fmt.Errorf("network of %s: %w", n.id, err), n.closeDisk())
	}
	h.nodes = append(h.nodes, n)
	return n, nil
}

// Form starts all nodes that do not run, and waits until all are ready.
func (h *Host) Form(ctx context.Context) error {
	for _, n := range h.Nodes() {
		if n.Running() {
			continue
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	for _, n := range h.Nodes() {
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close kills all nodes, closes their disks and gives back the network. It is safe
// to call twice.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	var errs []error
	if h.asker != nil {
		errs = append(errs, h.asker.Close())
	}
	for _, n := range h.nodes {
		n.retire()
	}
	killed := kill(h.nodes...)
	for _, n := range h.nodes {
		errs = append(errs, n.closeDisk())
	}
	if killed != nil {
		// A process that hung in a call of its disk ends when the disk is gone.
		killed = kill(h.nodes...)
	}
	return errors.Join(append(errs, killed, h.network.close())...)
}

// Stop kills all nodes, and lets Options.Inspect see what they left. Their disks and
// the network stay.
func (h *Host) Stop() error {
	h.mu.Lock()
	nodes := slices.Clone(h.nodes)
	h.mu.Unlock()
	return stop(nodes...)
}

// stop kills nodes, and lets Options.Inspect see what they left. The caller does not
// hold mu.
func stop(nodes ...*node) error {
	err := kill(nodes...)
	for _, n := range nodes {
		n.starting.Lock()
		n.inspect()
		n.starting.Unlock()
	}
	return err
}

// Dial connects to a node's address from where the Clients are. It is meant for
// client.WithDialOptions(grpc.WithContextDialer(h.Dial)).
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	return h.network.dial(ctx, address)
}

// Endpoints are the client addresses of all nodes.

func (h *Host) Endpoints() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	endpoints := make([]string, len(h.nodes))
	for i, n := range h.nodes {
		endpoints[i] = n.addresses.advertise
	}
	return endpoints
}

// Describe says in one line where the nodes live, what can be done to them there,
// and if they are on loopback for want of namespaces, why.
func (h *Host) Describe() string {
	var can, cannot []string
	for _, feature := range []Feature{FeatureCut, FeatureDelay, FeatureLoss, FeatureBandwidth, FeatureDisk, FeatureClock, FeatureUpgrade} {
		if h.Supports(feature) {
			can = append(can, string(feature))
		} else {
			cannot = append(cannot, string(feature))
		}
	}
	text := fmt.Sprintf("%s; faults: %s", h.network, strings.Join(can, ", "))
	if len(cannot) > 0 {
		text += "; not: " + strings.Join(cannot, ", ")
	}
	if h.why != nil {
		text += fmt.Sprintf(" (no network namespaces: %v)", h.why)
	}
	return text
}

// Nodes is Cluster's.
func (h *Host) Nodes() []Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return asNodes(h.nodes)
}

// Removed is Cluster's.
func (h *Host) Removed() []Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	return asNodes(h.gone)
}

func asNodes(nodes []*node) []Node {
	out := make([]Node, len(nodes))
	for i, n := range nodes {
		out[i] = n
	}
	return out
}

// Node is Cluster's.
func (h *Host) Node(id NodeID) Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.find(id); n != nil {
		return n
	}
	return nil
}

// find returns the node or nil. The caller holds mu.
func (h *Host) find(id NodeID) *node {
	if i := slices.IndexFunc(h.nodes, func(n *node) bool { return n.id == id }); i >= 0 {
		return h.nodes[i]
	}
	return nil
}

// Add is Cluster's.
func (h *Host) Add() (Node, error) {
	others := h.Endpoints()
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := h.describe()
	if err != nil {
		return nil, err
	}
	n.found = []string{"--join", strings.Join(others, ",")}
	return n, nil
}

// Remove is Cluster's.
func (h *Host) Remove(id NodeID) error {
	h.mu.Lock()
	n := h.find(id)
	h.mu.Unlock()
	if n == nil {
		return fmt.Errorf("remove: there is no node %q", id)
	}
	n.retire()
	if err := stop(n); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.find(id) == nil {
		return fmt.Errorf("remove: node %q was removed meanwhile", id)
	}
	h.nodes = slices.DeleteFunc(h.nodes, func(other *node) bool { return other == n })
	h.gone = append(h.gone, n)
	for p := range h.links {
		if p.from == id || p.to == id {
			delete(h.links, p)
		}
	}
	return errors.Join(n.closeDisk(), h.network.leave(id))
}

// Kill is Cluster's.
func (h *Host) Kill(ids ...NodeID) error {
	h.mu.Lock()
	var nodes []*node
	for _, id := range ids {
		n := h.find(id)
		if n == nil {
			h.mu.Unlock()
			return fmt.Errorf("kill: there is no node %q", id)
		}
		nodes = append(nodes, n)
	}
	h.mu.Unlock()
	return kill(nodes...)
}

// Leader is Cluster's. It asks for metrics, because Status waits for members that
// cannot be reached.
func (h *Host) Leader(ctx context.Context) (Node, bool) {
	nodes := h.Nodes()
	terms := make([]uint64, len(nodes))
	var group sync.WaitGroup
	for i, n := range nodes {
		if !n.Running() || n.Paused() {
			continue
		}
		group.Go(func() {
			if stats, err := n.Stats(ctx); err == nil && stats.Leads {
				terms[i] = stats.Term
			}
		})
	}
	group.Wait()
	var leader Node
	var newest uint64
	for i, term := range terms {
		if term > newest {
			leader, newest = nodes[i], term
		}
	}
	return leader, leader != nil
}

// Status asks one node, through the SDK, how it and, as it knows, the cluster are.
// No fault of a link to the clients is in the way. The node waits up to two seconds
// for members that it cannot reach.
func (h *Host) Status(ctx context.Context, id NodeID) (*tidemarkv1.StatusResponse, error) {
	h.mu.Lock()
	n := h.find(id)
	h.mu.Unlock()
	if n == nil {
		return nil, fmt.Errorf("status: there is no node %q", id)
	}
	asker, err := h.client()
	if err != nil {
		return nil, err
	}
	return asker.Cluster().At(n.addresses.listen).Status(ctx)
}

func (h *Host) client() (*client.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errors.New("the host is closed")
	}
	if h.asker != nil {
		return h.asker, nil
	}
	var endpoints []string
	for _, n := range h.nodes {
		endpoints = append(endpoints, n.addresses.listen)
	}
	asker, err := client.New(endpoints, client.WithoutDiscovery(), client.WithDialOptions(grpc.WithContextDialer(h.network.observe)))
	h.asker = asker
	return asker, err
}
