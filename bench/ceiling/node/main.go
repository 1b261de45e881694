// Command node is one node of the ceiling: hashicorp/raft with Tidemark's log store and
// settings, a state machine that does nothing, and Tidemark's append stream before it.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"

	"tidemark/rpc/tidemarkv1"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ceiling:", err)
		os.Exit(1)
	}
}

// member is a node of the cluster.
type member struct{ id, raft, client string }

func run() error {
	id := flag.String("id", "", "`id` of this node")
	dir := flag.String("dir", "", "`directory` of its log")
	list := flag.String("members", "", "all nodes as `ID=RAFT=CLIENT`, …")
	flag.Parse()
	var members []member
	var self *member
	for item := range strings.SplitSeq(*list, ",") {
		parts := strings.Split(item, "=")
		if len(parts) != 3 {
			return fmt.Errorf("--members: %q is not ID=RAFT=CLIENT", item)
		}
		members = append(members, member{parts[0], parts[1], parts[2]})
	}
	for i := range members {
		if members[i].id == *id {
			self = &members[i]
		}
	}
	if self == nil {
		return fmt.Errorf("--members does not name %q", *id)
	}
	node, err := startRaft(*self, members, *dir)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", self.client)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(newCodec()))
	door := &door{raft: node, proposer: newProposer(node), self: *self, members: members}
	tidemarkv1.RegisterTimelineServiceServer(server, door)
	tidemarkv1.RegisterClusterServiceServer(server, door)
	// It is stopped by a signal, and what it wrote is thrown away.
	return server.Serve(listener)
}
