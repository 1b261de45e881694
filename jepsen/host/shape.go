//go:build linux

package host

import (
	"errors"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// minBurst is the least that a token bucket holds. It has to hold the largest
	// packet, and more than what comes between two ticks of a slow clock.
	minBurst = 16 << 10
	// burstsPerSecond makes the bucket hold a hundredth of a second.
	burstsPerSecond = 100
	// queuesPerSecond lets packets wait for a fifth of a second before they are dropped.
	queuesPerSecond = 5
)

// shape bounds what the namespace sends and gets with a token bucket at each end of
// its cable; 0 takes them away.
func (m *space) shape(bridge *netlink.Handle, bytesPerSecond uint64) error {
	return errors.Join(
		shapeDevice(m.links, m.device, bytesPerSecond),
		shapeDevice(bridge, m.port, bytesPerSecond),
	)
}

func shapeDevice(links *netlink.Handle, device netlink.Link, bytesPerSecond uint64) error {
	attrs := netlink.QdiscAttrs{
		LinkIndex: device.Attrs().Index,
		Handle:    netlink.MakeHandle(1, 0),
		Parent:    netlink.HANDLE_ROOT,
	}
	if bytesPerSecond == 0 {
		err := links.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: "tbf"})
		// There was none.
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			return nil
		}
		return err
	}
	burst := max(minBurst, bytesPerSecond/burstsPerSecond)
	limit := min(burst+max(bytesPerSecond/queuesPerSecond, minBurst), 1<<31)
	return links.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: attrs,
		Rate:       bytesPerSecond,
		Buffer:     netlink.Xmittime(bytesPerSecond, uint32(min(burst, 1<<30))),
		Limit:      uint32(limit),
	})
}
