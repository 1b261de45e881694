package client

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"tidemark"
	pb "tidemark/rpc/tidemarkv1"
)

// AppendOption is an option of one append.
type AppendOption func(*appendOptions)

type appendOptions struct {
	expected      *tidemark.SeqID
	fanOut        tidemark.FanOut
	advanceSender bool
}

// FanOut delivers a reference to each inbox of the timeline's recipient set (see
// SetRecipients), atomically with the message. A retry delivers nothing more, also if the
// set has changed since the first attempt.
func FanOut() AppendOption { return func(o *appendOptions) { o.fanOut.Recipients = true } }

// FanOutTo delivers a reference to each of the inboxes: up to 1,000, each once.
func FanOutTo(inboxes ...tidemark.TimelineID) AppendOption {
	return func(o *appendOptions) { o.fanOut.Inboxes = append(o.fanOut.Inboxes, inboxes...) }
}

// AdvanceSenderCursor moves the read mark that the sender has, as a reader, to the message.
func AdvanceSenderCursor() AppendOption { return func(o *appendOptions) { o.advanceSender = true } }

// ExpectLastSeqID lets the append fail with a tidemark.SequenceConflictError unless
// seq is the timeline's last SeqID. 0 asks for a timeline that holds nothing.
func ExpectLastSeqID(seq tidemark.SeqID) AppendOption {
	return func(o *appendOptions) { o.expected = &seq }
}

// Append adds a message to its timeline, and returns when it is durable. It tries
// until ctx ends; then its error is tidemark.ErrOutcomeUnknown if the message may
// have been sent (see UnknownOutcomeError), and otherwise only the error of ctx.
// Any other error is definite. Payload and Attributes may be reused when it returns.
func (c *Client) Append(ctx context.Context, draft Draft, opts ...AppendOption) (*AppendResult, error) {
	pending, err := c.submit(ctx, draft, opts)
	if err != nil {
		return nil, err
	}
	select {
	case <-pending.done:
	case <-ctx.Done():
		c.appends.abandon(pending, ctx.Err())
	}
	return pending.outcome()
}

// AppendAsync hands an append in and does not wait for its outcome, but for room
// (see WithMaxInFlight). ctx is that of the whole append: when it ends before there
// is an outcome, the append ends as Append would. Payload and Attributes may be
// reused when it returns.
func (c *Client) AppendAsync(ctx context.Context, draft Draft, opts ...AppendOption) (*Pending, error) {
	pending, err := c.submit(ctx, draft, opts)
	if err != nil {
		return nil, err
	}
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { c.appends.abandon(pending, ctx.Err()) })
		c.appends.watchedBy(pending, stop)
	}
	return pending, nil
}

// Pending is an append whose outcome may not be known yet.
type Pending struct {
	// draft is complete, as it was sent.
	draft Draft
	// request is the encoded AppendRequest. It is made once, so that every
	// attempt sends equal bytes, whatever becomes of the caller's slices.
	request []byte
	done    chan struct{}

	// Guarded by pipeline.mu until done is closed.
	next, prev *Pending
	// streams counts the streams that it was handed to. An append that was handed to any may be applied.
	streams int
	ended   bool
	stop    func() bool
	result  AppendResult
	err     error
}

// Done returns a channel that is closed when the outcome is known.
func (p *Pending) Done() <-chan struct{} { return p.done }

// ID is the message id, also if AppendAsync made it.
func (p *Pending) ID() tidemark.MessageID { return p.draft.ID }

// Wait returns the outcome, as Append does. If ctx ends first, the append goes on,
// Wait can be called again, and the error is an UnknownOutcomeError.
func (p *Pending) Wait(ctx context.Context) (*AppendResult, error) {
	select {
	case <-p.done:
		return p.outcome()
	default:
	}
	select {
	case <-p.done:
		return p.outcome()
	case <-ctx.Done():
		return nil, &UnknownOutcomeError{Draft: p.draft, cause: ctx.Err()}
	}
}

func (p *Pending) outcome() (*AppendResult, error) {
	if p.err != nil {
		return nil, p.err
	}
	return &p.result, nil
}

// submit completes, checks and encodes the draft, waits for room, and queues it.
func (c *Client) submit(ctx context.Context, draft Draft, opts []AppendOption) (*Pending, error) {
	var o appendOptions
	for _, option := range opts {
		option(&o)
	}
	request, err := draft.complete("", &o)
	if err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("append to %q: %w", draft.Timeline, err)
	}
	pending := &Pending{draft: draft, request: encoded, done: make(chan struct{})}
	if err := c.appends.submit(ctx, pending); err != nil {
		return nil, fmt.Errorf("append of %q to %q was not sent: %w", draft.ID, draft.Timeline, err)
	}
	return pending, nil
}

func newMessageID() (tidemark.MessageID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("making a message id: %w", err)
	}
	return tidemark.MessageID(id.String()), nil
}

// complete gives the draft what makes it retryable, an id and with it a time,
// checks it, and renders it. prefix is that of field names in errors.
func (d *Draft) complete(prefix string, o *appendOptions) (*pb.AppendRequest, error) {
	if d.ID == "" {
		id, err := newMessageID()
		if err != nil {
			return nil, err
		}
		d.ID = id
		if d.ClientTime.IsZero() {
			d.ClientTime = time.Now()
		}
	}
	words, err := d.Tidemark()
	if err != nil {
		return nil, err
	}
	if err := words.Validate(prefix); err != nil {
		return nil, err
	}
	if err := o.fanOut.Validate(prefix, d.Timeline); err != nil {
		return nil, err
	}
	return d.request(o), nil
}

// appendResult translates what a node answered; who asked fills in the rest.
func (c *Client) appendResult(reply *pb.AppendResponse) (AppendResult, error) {
	position, err := c.observeToken(reply.GetPosition())
	if err != nil {
		return AppendResult{}, err
	}
	return AppendResult{
		SeqID:      tidemark.SeqID(reply.GetSeqId()),
		ServerTime: timeOf(reply.GetServerTime()),
		Digest:     digestOf(reply.GetDigest()),
		Duplicate:  reply.GetDuplicate(),
		Position:   position,

		Inboxes:           int(reply.GetInboxes()),
		RecipientsVersion: reply.GetRecipientsVersion(),
	}, nil
}
