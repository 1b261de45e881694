package peer

import (
	"context"
	"net"
	"time"
)

// keepAlive finds out within half a minute that a peer has gone without a word:
// its connections hold places under MaxConnsPerPeer until then.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}

// userTimeout is how long sent bytes may stay unacknowledged before the
// connection breaks. Linux alone would try for a quarter of an hour, and a
// snapshot's deadline is hours away. It is longer than the stall of a disk that
// the watchdog over the stores lets pass.
const userTimeout = 30 * time.Second

func listenTCP(address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive, Control: controlTCP}
	return lc.Listen(context.Background(), "tcp", address)
}

func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive, Control: controlTCP}
	return d.DialContext(ctx, network, address)
}
