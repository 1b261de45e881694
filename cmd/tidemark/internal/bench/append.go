package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tidemark"
	"tidemark/client"
	"tidemark/internal/load"
	"tidemark/rpc/tidemarkv1"
)

// How messages are appended.
const (
	// AppendSDK is one Append of the SDK by each caller, which all share one pipelined stream.
	AppendSDK = "sdk"
	// AppendUnary is one call of the generated API by each caller, to the leader.
	AppendUnary = "unary"
	// AppendBatch is one AppendBatch of AppendConfig.Batch messages by each caller.
	AppendBatch = "batch"
)

// AppendModes are all ways, in the order in which they are measured.
func AppendModes() []string { return []string{AppendSDK, AppendUnary, AppendBatch} }

// AppendConfig says how to measure appends.
type AppendConfig struct {
	Target
	load.Load
	// Modes are some of AppendModes, measured one after the other, Repeats times.
	Modes   []string
	Repeats int
	// Timelines are appended to at random, and Payload is the size of each message. Batch is
	// how many messages a batch has.
	Timelines, Payload, Batch int
	// Progress is told what is done; it may be nil.
	Progress func(string)
}

// AppendReport is what was measured.
type AppendReport struct {
	Callers   int             `json:"callers"`
	Rate      float64         `json:"rate,omitempty"`
	Timelines int             `json:"timelines"`
	Payload   int             `json:"payload_bytes"`
	Runs      []AppendMeasure `json:"runs"`
}

// AppendMeasure is one run.
type AppendMeasure struct {
	Mode string `json:"mode"`
	load.Measured
	// Messages are appended in a second: in a batch, several by one call.
	Messages float64 `json:"messages_per_second"`
	// Servers is what the nodes used meanwhile.
	Servers ServerUse `json:"servers"`
}

// Validate names the first field that is out of range.
func (c *AppendConfig) Validate() error {
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.Load.Validate(); err != nil {
		return err
	}
	for _, mode := range c.Modes {
		if !slices.Contains(AppendModes(), mode) {
			return tidemark.Invalid("modes", "must be of %v; %q is not", AppendModes(), mode)
		}
	}
	switch {
	case len(c.Modes) == 0:
		return tidemark.Invalid("modes", "must not be empty")
	case c.Repeats < 1 || c.Repeats > 100:
		return tidemark.Invalid("repeats", "must be 1 to 100; it is %d", c.Repeats)
	case c.Timelines < 1 || c.Timelines > 1_000_000:
		return tidemark.Invalid("timelines", "must be 1 to 1000000; it is %d", c.Timelines)
	case c.Payload < 0 || c.Payload > tidemark.MaxPayloadBytes:
		return tidemark.Invalid("payload", "must be 0 to %d bytes; it is %d", tidemark.MaxPayloadBytes, c.Payload)
	case c.Batch < 1 || c.Batch > tidemark.MaxBatchMessages || c.Batch*c.Payload > tidemark.MaxBatchBytes:
		return tidemark.Invalid("batch", "must be 1 to %d messages of %d bytes together; it is %d", tidemark.MaxBatchMessages, tidemark.MaxBatchBytes, c.Batch)
	}
	return nil
}

// Append measures each way, and all of them again as often as it is to be repeated.
func Append(ctx context.Context, c AppendConfig) (*AppendReport, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	report := &AppendReport{Callers: c.Callers, Rate: c.Rate, Timelines: c.Timelines, Payload: c.Payload}
	for repeat := range c.Repeats {
		for _, mode := range c.Modes {
			measured, err := c.measure(ctx, mode)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", mode, err)
			}
			report.Runs = append(report.Runs, measured)
			if c.Progress != nil {
				c.Progress(fmt.Sprintf("%d of %d, %s: %.0f messages/s", repeat+1, c.Repeats, mode, measured.Messages))
			}
		}
	}
	return report, nil
}

func (c *AppendConfig) measure(ctx context.Context, mode string) (m AppendMeasure, err error) {
	call, done, err := c.caller(ctx, mode)
	if err != nil {
		return m, err
	}
	defer done()
	var before, after serverSample
	sample := func(s *serverSample) func() error {
		return func() (err error) {
			*s, err = sampleServers(ctx, c.HTTP)
			return err
		}
	}
	m.Mode = mode
	if m.Measured, err = c.Run(ctx, call, sample(&before), sample(&after)); err != nil {
		return m, err
	}
	each := 1
	if mode == AppendBatch {
		each = c.Batch
	}
	m.Messages = m.PerSecond * float64(each)
	m.Servers = after.since(before, m.Calls*int64(each))
	return m, nil
}

// caller returns what one call of a mode is. Every message has a new id.
func (c *AppendConfig) caller(ctx context.Context, mode string) (call func(context.Context, int) error, done func(), err error) {
	sdk, err := client.New(c.Endpoints)
	if err != nil {
		return nil, nil, err
	}
	payload := make([]byte, c.Payload)
	for i := range payload {
		payload[i] = byte(rand.Uint32())
	}
	timeline := func() string { return fmt.Sprintf("%s/%d", c.Prefix, rand.IntN(c.Timelines)) }
	closers := []io.Closer{sdk}
	done = func() {
		for _, closer := range closers {
			_ = closer.Close() // what was measured is measured
		}
	}
	switch mode {
	case AppendUnary:
		status, err := sdk.Cluster().Status(ctx)
		if err != nil {
			done()
			return nil, nil, err
		}
		connection, err := grpc.NewClient(status.GetLeaderClientAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			done()
			return nil, nil, err
		}
		closers = append(closers, connection)
		api := tidemarkv1.NewTimelineServiceClient(connection)
		return func(ctx context.Context, _ int) error {
			_, err := api.Append(ctx, &tidemarkv1.AppendRequest{Timeline: timeline(), MessageId: uuid.NewString(), Sender: "bench", Payload: payload})
			return err
		}, done, nil
	case AppendBatch:
		return func(ctx context.Context, _ int) error {
			drafts := make([]client.Draft, c.Batch)
			for i := range drafts {
				drafts[i] = client.Draft{Timeline: tidemark.TimelineID(timeline()), Sender: "bench", Payload: payload}
			}
			results, err := sdk.AppendBatch(ctx, drafts)
			for i := range results {
				if err == nil {
					err = results[i].Err
				}
			}
			return err
		}, done, nil
	default:
		return func(ctx context.Context, _ int) error {
			_, err := sdk.Append(ctx, client.Draft{Timeline: tidemark.TimelineID(timeline()), Sender: "bench", Payload: payload})
			return err
		}, done, nil
	}
}
