package localcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Free ports are sought in [firstPort, lastPort]: below the range from which
// systems take the ports of outgoing connections, so that the port of a dead node
// stays free until it is started again.
const (
	firstPort = 20_000
	lastPort  = 32_000
)

// freeAddresses returns n addresses on loopback that nobody listens on.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	taken := map[int]bool{}
	for range 100 * n {
		if len(addresses) == n {
			return addresses, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if taken[port] {
			continue
		}
		taken[port] = true
		address := loopback(port)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return nil, errors.New("found no free ports on 127.0.0.1")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
