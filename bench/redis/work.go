package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"tidemark/bench/system"
)

func key(n int) string { return "tl:" + strconv.Itoa(n) }

// add appends a message; id is its id in the stream, * for the next one.
func add(client rueidis.CoreClient, n int, id string) rueidis.Completed {
	return client.B().Xadd().Key(key(n)).Id(id).FieldValue().
		FieldValue("id", system.NewID().String()).FieldValue("payload", rueidis.BinaryString(system.NewPayload())).Build()
}

// Fill implements system.Cluster. The ids are the numbers of messages in their timelines.
func (c *cluster) Fill(ctx context.Context) error {
	client, err := connect(c.primary, 1)
	if err != nil {
		return err
	}
	defer client.Close()
	// A pipeline has each stream once, and they follow one another: ids must grow.
	return system.FillInBatches(ctx, system.Timelines, 1, func(ctx context.Context, message, first, last int) error {
		commands := make(rueidis.Commands, 0, last-first+1)
		for n := first; n <= last; n++ {
			commands = append(commands, add(client, n, strconv.Itoa(message)))
		}
		for _, result := range client.DoMulti(ctx, commands...) {
			if err := result.Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Open implements system.Cluster.
func (c *cluster) Open(_ context.Context, kind system.Kind, way string, callers int) (*system.Driver, error) {
	client, err := connect(c.primary, callers)
	if err != nil {
		return nil, err
	}
	switch {
	case way == wayXAdd && len(c.Group) > 1:
		return addAndWait(client, callers), nil
	case way == wayXAdd:
		return &system.Driver{Call: func(ctx context.Context, _ int) error {
			return client.Do(ctx, add(client, system.AnyTimeline(), "*")).Error()
		}, Close: client.Close}, nil
	case way == wayXRange:
		return &system.Driver{Call: func(ctx context.Context, _ int) error {
			page, err := client.Do(ctx, client.B().Xrange().Key(key(system.AnyTimeline())).
				Start(strconv.Itoa(system.AnyPage())).End("+").Count(system.Page).Build()).AsXRange()
			if err == nil && len(page) != system.Page {
				err = fmt.Errorf("a page has %d messages", len(page))
			}
			return err
		}, Close: client.Close}, nil
	default:
		client.Close()
		return nil, system.UnknownWay(kind, way)
	}
}

var errNoReplica = errors.New("no replica has the message")

// addAndWait has a connection for each caller.
func addAndWait(client rueidis.Client, callers int) *system.Driver {
	connections := make([]rueidis.DedicatedClient, callers)
	for i := range connections {
		connections[i], _ = client.Dedicate()
	}
	return &system.Driver{Call: func(ctx context.Context, caller int) error {
		connection := connections[caller]
		results := connection.DoMulti(ctx, add(connection, system.AnyTimeline(), "*"), connection.B().Wait().Numreplicas(1).Timeout(0).Build())
		if err := results[0].Error(); err != nil {
			return err
		}
		replicas, err := results[1].AsInt64()
		if err == nil && replicas < 1 {
			err = errNoReplica
		}
		return err
	}, Close: func() {
		for _, connection := range connections {
			connection.Close()
		}
		client.Close()
	}}
}
