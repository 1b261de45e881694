package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tidemark/bench/system"
)

const (
	// connections is how many there are: one is slower.
	connections = 4
	// txnPuts is how many puts fill the timelines in one transaction; the limit is 128.
	txnPuts = 100
	fillers = 64
)

// key is that of a message. The name is its id, or the number that it has in its timeline.
func key(n int, name string) string { return fmt.Sprintf("tl/%d/%s", n, name) }

func numbered(message int) string { return fmt.Sprintf("%08d", message) }

// Fill implements system.Cluster.
func (c *cluster) Fill(ctx context.Context) error {
	clients, closeAll, err := connect(1, c.leader)
	if err != nil {
		return err
	}
	defer closeAll()
	return system.FillInBatches(ctx, txnPuts, fillers, func(ctx context.Context, message, first, last int) error {
		var puts []clientv3.Op
		for n := first; n <= last; n++ {
			puts = append(puts, clientv3.OpPut(key(n, numbered(message)), string(system.NewPayload())))
		}
		_, err := clients[0].Txn(ctx).Then(puts...).Commit()
		return err
	})
}

// Open implements system.Cluster.
func (c *cluster) Open(_ context.Context, kind system.Kind, way string, _ int) (*system.Driver, error) {
	endpoints := []string{c.leader}
	if way == waySerializable {
		endpoints = c.endpoints
	}
	clients, closeAll, err := connect(connections, endpoints...)
	if err != nil {
		return nil, err
	}
	d := &system.Driver{Close: closeAll}
	switch way {
	case wayPut:
		d.Call = func(ctx context.Context, caller int) error {
			_, err := clients[caller%connections].Put(ctx, key(system.AnyTimeline(), system.NewID().String()), string(system.NewPayload()))
			return err
		}
	case wayLinearizable:
		d.Call = readPage(clients)
	case waySerializable:
		d.Call = readPage(clients, clientv3.WithSerializable())
	default:
		closeAll()
		return nil, system.UnknownWay(kind, way)
	}
	return d, nil
}

func readPage(clients []*clientv3.Client, options ...clientv3.OpOption) func(context.Context, int) error {
	return func(ctx context.Context, caller int) error {
		n := system.AnyTimeline()
		reply, err := clients[caller%connections].Get(ctx, key(n, numbered(system.AnyPage())),
			append([]clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(key(n, ""))), clientv3.WithLimit(system.Page)}, options...)...)
		if err == nil && len(reply.Kvs) != system.Page {
			err = fmt.Errorf("a page has %d messages", len(reply.Kvs))
		}
		return err
	}
}
