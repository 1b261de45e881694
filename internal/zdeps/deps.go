// Package zdeps keeps the modules of the fault-injection harness in go.mod while it grows.
package zdeps

import (
	_ "github.com/anishathalye/porcupine"
	_ "github.com/google/nftables"
	_ "github.com/hanwen/go-fuse/v2/fs"
	_ "github.com/vishvananda/netlink"
	_ "github.com/vishvananda/netns"
)
