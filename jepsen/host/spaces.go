//go:build linux

package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The ports of every node; in its namespace they are its own.
const (
	clientPort = 7400
	raftPort   = 7401
	httpPort   = 7402
)

// observer is where the harness itself asks from, as an end of links that no fault
// is ever asked for.
const observer NodeID = "observer"

// subnet exists in the namespaces alone. Clients get its first address,
// the observer its second.
var subnet = netip.MustParsePrefix("10.77.0.0/16")

// spaces is a network of namespaces: one for each node, one for the clients, and one
// that holds the bridge between them.
type spaces struct {
	bridge   netns.NsHandle
	links    *netlink.Handle
	bridgeID int

	// mu guards what follows.
	mu      sync.Mutex
	members map[NodeID]*space
	last    netip.Addr
	// can are the features that this kernel was seen to support.
	can []Feature
}

// space is the namespace of one end of links.
type space struct {
	ns    netns.NsHandle
	links *netlink.Handle
	ip    netip.Addr
	// device is the member's end of its cable, and port the bridge's.
	device, port netlink.Link
	filter       *filter
}

// newSpaces makes the bridge and the clients' namespace, and finds out what the
// kernel supports.
func newSpaces() (_ *spaces, err error) {
	s := &spaces{bridge: netns.None(), members: map[NodeID]*space{}, last: subnet.Addr()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.bridge, err = newNamespace(); err != nil {
		return nil, err
	}
	if s.links, err = netlink.NewHandleAt(s.bridge); err != nil {
		return nil, err
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}}
	if err := s.links.LinkAdd(bridge); err != nil {
		return nil, fmt.Errorf("make a bridge: %w", err)
	}
	if err := s.links.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("start the bridge: %w", err)
	}
	s.bridgeID = bridge.Index
	for _, id := range []NodeID{Clients, observer} {
		if _, err := s.join(id); err != nil {
			return nil, err
		}
	}
	s.can = s.members[Clients].probe(s.links)
	return s, nil
}

// probe tries each kind of fault, and returns those that the kernel can do.
func (m *space) probe(bridge *netlink.Handle) []Feature {
	var can []Feature
	for feature, faults := range map[Feature]link{
		FeatureCut:   {cut: true},
		FeatureLoss:  {loss: 1},
		FeatureDelay: {delay: 1},
	} {
		nobody := subnet.Addr()
		if m.filter.set(map[netip.Addr]link{nobody: faults}) == nil {
			can = append(can, feature)
		}
	}
	// The last batch that was accepted, maybe of these, is in force: end that.
	if err := m.filter.set(nil); err != nil {
		return nil
	}
	if m.shape(bridge, 1<<30) == nil && m.shape(bridge, 0) == nil {
		can = append(can, FeatureBandwidth)
	}
	return can
}

func (s *spaces) String() string { return "network namespaces" }

func (s *spaces) supports(feature Feature) bool { return slices.Contains(s.can, feature) }

func (s *spaces) join(id NodeID) (a addresses, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = s.last.Next()
	m := &space{ns: netns.None(), ip: s.last}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	if m.ns, err = newNamespace(); err != nil {
		return a, err
	}
	if m.links, err = netlink.NewHandleAt(m.ns); err != nil {
		return a, err
	}
	if err := m.plug(s.links, s.bridgeID, "port-"+string(id)); err != nil {
		return a, err
	}
	if m.filter, err = newFilter(m.ns); err != nil {
		return a, err
	}
	s.members[id] = m
	at := func(port uint16) string { return netip.AddrPortFrom(m.ip, port).String() }
	return addresses{
		listen: at(clientPort), advertise: at(clientPort),
		raftListen: at(raftPort), raftAdvertise: at(raftPort),
		http: at(httpPort),
	}, nil
}

// plug lays a cable from the namespace to the bridge.
func (m *space) plug(bridge *netlink.Handle, bridgeID int, port string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = port, bridgeID
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(m.ns)}
	if err := bridge.LinkAdd(cable); err != nil {
		return fmt.Errorf("make a pair of veth devices: %w", err)
	}
	var err error
	if m.port, err = bridge.LinkByName(port); err != nil {
		return err
	}
	if m.device, err = m.links.LinkByName("eth0"); err != nil {
		return err
	}
	loopback, err := m.links.LinkByName("lo")
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(netip.PrefixFrom(m.ip, subnet.Bits()).String())
	if err != nil {
		return err
	}
	return errors.Join(
		m.links.AddrAdd(m.device, address),
		m.links.LinkSetUp(loopback),
		m.links.LinkSetUp(m.device),
		bridge.LinkSetUp(m.port),
	)
}

// leave pulls a member's cable: the device goes with the namespace, but only when
// the last socket in it is closed.
func (s *spaces) leave(id NodeID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	delete(s.members, id)
	return errors.Join(s.links.LinkDel(m.port), m.close())
}

func (s *spaces) member(id NodeID) *space {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members[id]
}

func (s *spaces) start(id NodeID, cmd *exec.Cmd) error {
	return startWithin(s.member(id).ns, cmd)
}

func (s *spaces) dial(ctx context.Context, address string) (net.Conn, error) {
	return s.dialFrom(ctx, Clients, "tcp", address)
}

func (s *spaces) observe(ctx context.Context, address string) (net.Conn, error) {
	return s.dialFrom(ctx, observer, "tcp", address)
}

// dialFrom connects from where any member is.
func (s *spaces) dialFrom(ctx context.Context, id NodeID, network, address string) (net.Conn, error) {
	ns, err := s.hold(id)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return dialWithin(ctx, ns, network, address)
}

// hold returns a handle of a member's namespace that stays open if the network is
// closed meanwhile.
func (s *spaces) hold(id NodeID) (netns.NsHandle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[id]
	if m == nil {
		return netns.None(), net.ErrClosed
	}
	fd, err := unix.FcntlInt(uintptr(m.ns), unix.F_DUPFD_CLOEXEC, 0)
	return netns.NsHandle(fd), err
}

func (s *spaces) arrive(to NodeID, faults map[NodeID]link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	byAddress := make(map[netip.Addr]link, len(faults))
	for from, l := range faults {
		byAddress[s.members[from].ip] = l
	}
	if err := s.members[to].filter.set(byAddress); err != nil {
		return fmt.Errorf("packet filter of %s: %w", to, err)
	}
	return nil
}

func (s *spaces) bandwidth(id NodeID, bytesPerSecond uint64) error {
	if err := s.member(id).shape(s.links, bytesPerSecond); err != nil {
		return fmt.Errorf("bandwidth of %s: %w", id, err)
	}
	return nil
}

// close lets go of all namespaces. The kernel removes them and what is in them.
func (s *spaces) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, m := range s.members {
		errs = append(errs, m.close())
	}
	clear(s.members)
	if s.links != nil {
		s.links.Close()
	}
	if s.bridge.IsOpen() {
		errs = append(errs, s.bridge.Close())
	}
	return errors.Join(errs...)
}

func (m *space) close() error {
	var errs []error
	if m.filter != nil {
		errs = append(errs, m.filter.close())
	}
	if m.links != nil {
		m.links.Close()
	}
	if m.ns.IsOpen() {
		errs = append(errs, m.ns.Close())
	}
	return errors.Join(errs...)
}
