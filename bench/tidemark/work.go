package tidemark

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	words "tidemark"
	"tidemark/bench/system"
	"tidemark/client"
	"tidemark/rpc/tidemarkv1"
)

func timeline(n int) words.TimelineID { return words.TimelineID("tl/" + strconv.Itoa(n)) }

// sender is that of all messages.
const sender = "bench"

func draft(n int) client.Draft {
	return client.Draft{Timeline: timeline(n), Sender: sender, Payload: system.NewPayload()}
}

// fillers is how many batches are under way while the timelines are filled.
const fillers = 4

// Fill implements system.Cluster.
func (c *cluster) Fill(ctx context.Context) error {
	sdk, err := client.New(c.Endpoints())
	if err != nil {
		return err
	}
	defer sdk.Close()
	return system.FillInBatches(ctx, system.Timelines, fillers, func(ctx context.Context, _, first, last int) error {
		var drafts []client.Draft
		for n := first; n <= last; n++ {
			drafts = append(drafts, draft(n))
		}
		_, err := sdk.AppendBatch(ctx, drafts)
		return err
	})
}

// Open implements system.Cluster.
func (c *cluster) Open(ctx context.Context, kind system.Kind, way string, _ int) (*system.Driver, error) {
	sdk, err := client.New(c.Endpoints())
	if err != nil {
		return nil, err
	}
	closeSDK := func() { _ = sdk.Close() } // what was measured is measured
	switch way {
	case waySDK:
		if kind == system.Tail {
			return &system.Driver{CatchUp: func(ctx context.Context) error { return catchUp(ctx, sdk) }, Close: closeSDK}, nil
		}
		return &system.Driver{Call: func(ctx context.Context, _ int) error {
			_, err := sdk.Append(ctx, draft(system.AnyTimeline()))
			return err
		}, Close: closeSDK}, nil
	case wayLinearizable:
		return &system.Driver{Call: readPage(sdk, client.Linearizable()), Close: closeSDK}, nil
	case wayLocal:
		return &system.Driver{Call: readPage(sdk, client.Local(0)), Close: closeSDK}, nil
	case wayUnary:
		defer closeSDK()
		return openUnary(ctx, sdk)
	default:
		closeSDK()
		return nil, system.UnknownWay(kind, way)
	}
}

// openUnary appends by the generated API, on a connection to the leader that is there.
func openUnary(ctx context.Context, sdk *client.Client) (*system.Driver, error) {
	status, err := sdk.Cluster().Status(ctx)
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(status.GetLeaderClientAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	connection.Connect()
	api := tidemarkv1.NewTimelineServiceClient(connection)
	return &system.Driver{Call: func(ctx context.Context, _ int) error {
		_, err := api.Append(ctx, &tidemarkv1.AppendRequest{
			Timeline: string(timeline(system.AnyTimeline())), MessageId: system.NewID().String(), Sender: sender, Payload: system.NewPayload(),
		}, grpc.WaitForReady(true))
		return err
	}, Close: func() { _ = connection.Close() }}, nil
}

func readPage(sdk *client.Client, level client.Consistency) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		page, err := sdk.Read(ctx, timeline(system.AnyTimeline()), client.From(words.SeqID(system.AnyPage())), client.Limit(system.Page), level)
		if err == nil && len(page.Messages) != system.Page {
			err = fmt.Errorf("a page has %d messages", len(page.Messages))
		}
		return err
	}
}

// catchUp follows all timelines from their beginning until it has all messages.
func catchUp(ctx context.Context, sdk *client.Client) error {
	tail, err := sdk.Tail()
	if err != nil {
		return err
	}
	defer tail.Close()
	for n := range system.Timelines {
		if _, err := tail.Follow(timeline(n)); err != nil {
			return err
		}
	}
	for missing := system.Timelines * system.Backlog; missing > 0; {
		event, err := tail.Next(ctx)
		if err == nil {
			err = event.Err
		}
		if err != nil {
			return err
		}
		missing -= len(event.Messages)
	}
	return nil
}
