// Package host is where the nodes of a cluster under test live: it starts, pauses and
// kills their processes, and hurts the network between them. It knows a node by its
// command line, its signals and its ports, and imports no server package. It needs
// Linux.
//
// # Network namespaces
//
// With the privileges of root, each node has a network namespace of its own, and so
// have the clients and the harness. A pair of veth devices leads from each to a
// bridge, which is in a namespace too. The network of the machine is not touched, and
// the addresses, out of 10.77.0.0/16, exist in the namespaces alone.
//
//	n1 ──┐
//	n2 ──┤        every end: a packet filter for what arrives,
//	n3 ──┼─ bridge           a token bucket for what leaves
//	clients ──┤
//	observer ─┘   where the harness asks from; no fault but Bandwidth is in its way
//
// The filter of the one who receives does the faults of links, because a sender is
// told what its own filter drops. Rules are by the sender's address, so each direction
// has its own. All faults that hold for a node are one batch, put into force at once.
//
//	cut         a rule that drops
//	loss        a rule that drops if a random number is small enough. A packet is what
//	            the receiver's kernel sees, which may be 64 KiB that veth did not cut up
//	delay       a rule that hands packets to this process (NFQUEUE), which lets them go
//	            on in their order when their time has come. Unlike a relay it slows
//	            connections that are open already, and everything that is not TCP
//	bandwidth   a token bucket (tbf) at both ends of a node's cable
//
// New tries each of them, and Supports tells what came of it. A kernel needs
// CONFIG_VETH, CONFIG_BRIDGE and CONFIG_NF_TABLES; for loss CONFIG_NFT_NUMGEN; for delay
// CONFIG_NFT_COMPAT, CONFIG_NETFILTER_XT_TARGET_NFQUEUE and CONFIG_NETFILTER_NETLINK_QUEUE;
// for bandwidth CONFIG_NET_SCH_TBF. The queueing discipline netem and the queue expression
// of nftables, which many small kernels lack, are not used. Linux 6.18, built with all of
// the former and none of the latter, supports everything.
//
// # Loopback
//
// Without the privileges, or if Options.Loopback asks for it, nodes listen on loopback,
// and a relay stands in front of the client port and of the Raft port of each. Others
// are told the relay's address. A relay finds out which process opened a connection,
// so it knows the link that the connection is on. It can cut, in one direction alone
// too, and delay; loss and bandwidth it cannot. A cut holds bytes back and passes them
// on when it is healed, as TCP does by sending again; a connection that is opened over
// a cut is accepted by the relay and then stands still.
//
// # Nothing is left behind
//
// Namespaces have no names: the kernel removes one, with its devices and rules, when
// nobody has it open and no process is in it. Nodes are killed by the kernel when the
// thread that started them ends, which is a thread that lives as long as this process.
// So after Ctrl-C, a panic or SIGKILL nothing is left but files, and the next start has
// nothing to clean up. Mounts of an Options.NewDisk are its own concern.
//
// # Decisions and their price
//
// Leader and Stats read a node's metrics over HTTP, not its Status: a node's Status
// waits up to two seconds for members that it cannot reach, which is just when a nemesis
// asks. The price is that the names of four metrics stand here.
//
// A process that hangs in a call of its disk does not die of SIGKILL until the call
// returns. Kill gives up after ten seconds with an error that says so: whoever makes a
// disk hang heals it before, or together with, the kill.
package host
