package localcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Free ports are sought in [firstPort, lastPort]: below the range from which
// systems take the ports of outgoing connections, so that the port of a dead node
// stays free until it is started again. The range is cut into blocks: that a process
// listens on the first port of a block tells others that the rest of it is taken, also
// when nobody listens there now.
const (
	firstPort = 20_000
	lastPort  = 31_999
	blockSize = 100
	blocks    = (lastPort - firstPort + 1) / blockSize
)

// owned are the blocks of this process. A port is given out once, unless all blocks are
// taken.
var owned struct {
	sync.Mutex
	// locks are kept open until the process ends, and blocks are what they lock.
	locks  []net.Listener
	blocks []int
	// next is the next port to give out, and end that behind the block.
	next, end int
}

// freeAddresses returns n addresses on loopback that nobody listens on, and that no
// other call, of any process, is given while this process lives.
func freeAddresses(n int) ([]string, error) {
	owned.Lock()
	defer owned.Unlock()
	var addresses []string
	for range 100 * n {
		if len(addresses) == n {
			return addresses, nil
		}
		if owned.next == owned.end {
			if err := ownBlock(); err != nil {
				return nil, err
			}
		}
		address := loopback(owned.next)
		owned.next++
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue // of a program that knows nothing of blocks
		}
		if err := listener.Close(); err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return nil, errors.New("found no free ports on 127.0.0.1")
}

// ownBlock makes one more block that of this process.
func ownBlock() error {
	for _, block := range rand.Perm(blocks) {
		first := firstPort + block*blockSize
		lock, err := net.Listen("tcp", loopback(first))
		if err != nil {
			continue
		}
		owned.locks, owned.blocks = append(owned.locks, lock), append(owned.blocks, first)
		owned.next, owned.end = first+1, first+blockSize
		return nil
	}
	if len(owned.blocks) > 0 {
		first := owned.blocks[rand.IntN(len(owned.blocks))]
		owned.next, owned.end = first+1, first+blockSize
		return nil
	}
	return errors.New("found no free ports on 127.0.0.1")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
