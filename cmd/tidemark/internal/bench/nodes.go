package bench

import (
	"context"
	"errors"
	"time"

	"tidemark"
	"tidemark/client"
)

// askedNode is one that is asked by itself.
type askedNode struct {
	endpoint, http string
	leads          bool
}

// role is what the node is in the cluster.
func (n askedNode) role() string {
	if n.leads {
		return "leader"
	}
	return "follower"
}

// askTimeout bounds the question who leads.
const askTimeout = 10 * time.Second

// nodes are the leader and, behind it, one follower if there is one.
func (t *Target) nodes(ctx context.Context, c *client.Client) ([]askedNode, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var leader, follower []askedNode
	for i, endpoint := range t.Endpoints {
		status, err := c.Cluster().At(endpoint).Status(ctx)
		switch {
		case err != nil:
			return nil, err
		case status.GetLeaderId() == "":
			return nil, tidemark.ErrNoLeader
		case status.GetLeaderId() == status.GetNodeId():
			leader = []askedNode{{endpoint, t.HTTP[i], true}}
		default:
			follower = []askedNode{{endpoint, t.HTTP[i], false}}
		}
	}
	if len(leader) == 0 {
		return nil, errors.New("the leader is not among the endpoints")
	}
	return append(leader, follower...), nil
}
