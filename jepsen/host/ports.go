//go:build linux

package host

import (
	"errors"
	"sync"

	"tidemark/internal/localcluster"
)

// ports are where one node on loopback listens.
type ports struct{ client, raft, http string }

// claimed are the ports of all nodes of this process, whether they run or not: a port
// on which nobody listens yet looks free to whoever looks for one.
var claimed = struct {
	mu        sync.Mutex
	addresses map[string]bool
}{addresses: map[string]bool{}}

// claimAttempts is more than enough for a range of thousands of ports.
const claimAttempts = 100

// claimPorts finds ports that are free, and that no other node of this process has.
func claimPorts() (ports, error) {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	for range claimAttempts {
		// Described, never started: only its addresses are used.
		c, err := localcluster.New("", "", 1, 0)
		if err != nil {
			return ports{}, err
		}
		p := ports{c.Nodes[0].Listen, c.Nodes[0].RaftListen, c.Nodes[0].HTTPListen}
		if claimed.addresses[p.client] || claimed.addresses[p.raft] || claimed.addresses[p.http] {
			continue
		}
		claimed.addresses[p.client], claimed.addresses[p.raft], claimed.addresses[p.http] = true, true, true
		return p, nil
	}
	return ports{}, errors.New("found no free ports on loopback")
}

// release lets others have the ports. The node does not run any more.
func (p ports) release() {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	delete(claimed.addresses, p.client)
	delete(claimed.addresses, p.raft)
	delete(claimed.addresses, p.http)
}
