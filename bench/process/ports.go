package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Free ports are sought below those that internal/localcluster and outgoing connections use.
const firstPort, lastPort = 10_000, 19_999

// FreeAddresses returns n addresses on loopback that nobody listens on.
func FreeAddresses(n int) ([]string, error) {
	var addresses []string
	for _, port := range rand.Perm(lastPort - firstPort + 1) {
		if len(addresses) == n {
			return addresses, nil
		}
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+port)
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
