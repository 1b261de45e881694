package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tidemark"
	"tidemark/client"
	"tidemark/rpc/tidemarkv1"
)

// appender makes the calls of a run. Every message has a new id.
type appender struct {
	*AppendConfig
	sdk     *client.Client
	payload []byte
	// ends are called when the run is over.
	ends []func()
}

func newAppender(c *AppendConfig) (*appender, error) {
	sdk, err := client.New(c.Endpoints)
	if err != nil {
		return nil, err
	}
	a := &appender{AppendConfig: c, sdk: sdk, payload: newPayload(c.Payload)}
	a.closeAtEnd(sdk)
	return a, nil
}

// closeAtEnd closes what a run needs. What was measured is measured, whatever comes of that.
func (a *appender) closeAtEnd(closer io.Closer) {
	a.ends = append(a.ends, func() { _ = closer.Close() })
}

func (a *appender) close() {
	for _, end := range a.ends {
		end()
	}
}

// call returns what one call of a mode is.
func (a *appender) call(ctx context.Context, mode string) (func(context.Context, int) error, error) {
	switch mode {
	case AppendUnary:
		return a.unary(ctx)
	case AppendStream:
		return a.stream(ctx)
	case AppendBatch:
		return a.batch, nil
	default:
		return func(ctx context.Context, _ int) error {
			_, err := a.sdk.Append(ctx, a.draft())
			return err
		}, nil
	}
}

func (a *appender) anyTimeline() tidemark.TimelineID { return a.timeline(rand.IntN(a.Timelines)) }

func (a *appender) draft() client.Draft {
	return client.Draft{Timeline: a.anyTimeline(), Sender: sender, Payload: a.payload}
}

func (a *appender) request() *tidemarkv1.AppendRequest {
	return &tidemarkv1.AppendRequest{Timeline: string(a.anyTimeline()), MessageId: uuid.NewString(), Sender: sender, Payload: a.payload}
}

func (a *appender) batch(ctx context.Context, _ int) error {
	drafts := make([]client.Draft, a.Batch)
	for i := range drafts {
		drafts[i] = a.draft()
	}
	_, err := a.sdk.AppendBatch(ctx, drafts)
	return err
}

func (a *appender) unary(ctx context.Context) (func(context.Context, int) error, error) {
	apis, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, caller int) error {
		_, err := apis[caller/connectionCallers].Append(ctx, a.request())
		return err
	}, nil
}

func (a *appender) stream(ctx context.Context) (func(context.Context, int) error, error) {
	apis, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	a.ends = append(a.ends, cancel)
	streams := make([]ownStream, a.Callers)
	for caller := range streams {
		streams[caller] = ownStream{ctx: ctx, api: apis[caller/connectionCallers]}
	}
	return func(ctx context.Context, caller int) error {
		return streams[caller].append(ctx, a.request())
	}, nil
}

// connectionCallers is how many callers share a connection: a node bounds the calls of one.
const connectionCallers = 1024

// connect connects to the leader, often enough for all callers.
func (a *appender) connect(ctx context.Context) (apis []tidemarkv1.TimelineServiceClient, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	leader, err := a.leader(ctx)
	if err != nil {
		return nil, err
	}
	for len(apis)*connectionCallers < a.Callers {
		connection, err := grpc.NewClient(leader, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		a.closeAtEnd(connection)
		apis = append(apis, tidemarkv1.NewTimelineServiceClient(connection))
	}
	return apis, nil
}

// leader is the address of the node that leads. A cluster that was just started has none yet.
func (a *appender) leader(ctx context.Context) (string, error) {
	for {
		status, err := a.sdk.Cluster().Status(ctx)
		if err != nil || status.GetLeaderClientAddress() != "" {
			return status.GetLeaderClientAddress(), err
		}
		select {
		case <-ctx.Done():
			return "", errors.New("the cluster has no leader")
		case <-time.After(leaderPoll):
		}
	}
}

// leaderPoll is how often a cluster without a leader is asked for one.
const leaderPoll = 100 * time.Millisecond

// ownStream is a caller's own stream of appends. It is opened at the first one, and at the
// one after a failure, and ends with ctx.
type ownStream struct {
	ctx    context.Context
	api    tidemarkv1.TimelineServiceClient
	cancel context.CancelFunc
	stream grpc.BidiStreamingClient[tidemarkv1.AppendStreamRequest, tidemarkv1.AppendStreamResponse]
	tag    uint64
}

// append sends one append and waits for its reply, at most as long as ctx.
func (s *ownStream) append(ctx context.Context, request *tidemarkv1.AppendRequest) error {
	if err := s.open(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	reply, err := s.exchange(request)
	if err != nil {
		s.cancel()
		s.stream = nil
		return err
	}
	if refused := reply.GetError(); refused != nil {
		return errors.New(refused.GetMessage())
	}
	return nil
}

func (s *ownStream) open() (err error) {
	if s.stream != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	if s.stream, err = s.api.AppendStream(ctx); err != nil {
		cancel()
		return err
	}
	s.cancel = cancel
	return nil
}

func (s *ownStream) exchange(request *tidemarkv1.AppendRequest) (*tidemarkv1.AppendStreamResponse, error) {
	s.tag++
	// A stream that has ended says why to the receiver.
	if err := s.stream.Send(&tidemarkv1.AppendStreamRequest{Tag: s.tag, Append: request}); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	reply, err := s.stream.Recv()
	if err == nil && reply.GetTag() != s.tag {
		err = fmt.Errorf("the reply to append %d is for %d", s.tag, reply.GetTag())
	}
	return reply, err
}
