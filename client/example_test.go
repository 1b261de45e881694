package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc/codes"

	"tidemark"
	"tidemark/client"
)

// exampleTB lets an example have a cluster.
type exampleTB struct{ cleanups []func() }

func (*exampleTB) Helper()            {}
func (*exampleTB) Fatal(args ...any)  { log.Fatal(args...) }
func (e *exampleTB) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }
func (e *exampleTB) stop() {
	for _, f := range e.cleanups {
		f()
	}
}

// startExample starts a cluster of three nodes.
func startExample() (endpoints []string, c *cluster, stop func()) {
	var t exampleTB
	c = newCluster(&t, 3)
	return c.endpoints(), c, t.stop
}

func Example() {
	endpoints, _, stop := startExample()
	defer stop()

	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	for _, text := range []string{"hello", "is anyone here?"} {
		sent, err := c.Append(ctx, client.Draft{Timeline: "conv/42", Sender: "alice", Payload: []byte(text)})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("appended", sent.SeqID)
	}
	for message, err := range c.Messages(ctx, "conv/42") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %s\n", message.SeqID, message.Sender, message.Payload)
	}
	// Output:
	// appended 1
	// appended 2
	// 1 alice: hello
	// 2 alice: is anyone here?
}

// Pipelining: hand in many, then look at the outcomes. They keep their order.
func ExampleClient_AppendAsync() {
	endpoints, _, stop := startExample()
	defer stop()
	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	var pending []*client.Pending
	for i := range 3 {
		p, err := c.AppendAsync(ctx, client.Draft{Timeline: "conv/42", Payload: []byte(fmt.Sprint("message ", i))})
		if err != nil {
			log.Fatal(err)
		}
		pending = append(pending, p)
	}
	for _, p := range pending {
		sent, err := p.Wait(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(sent.SeqID)
	}
	// Output:
	// 1
	// 2
	// 3
}

// An append whose time runs out may be applied or not. The error holds the draft
// that settles it: appended again, it is found or added, once.
func ExampleUnknownOutcomeError() {
	endpoints, cluster, stop := startExample()
	defer stop()
	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	// The leader applies the append and does not answer in time.
	cluster.nodes[0].script("AppendStream", fault{mute: true})
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = c.Append(short, client.Draft{Timeline: "conv/42", Payload: []byte("hello")})
	var unknown *client.UnknownOutcomeError
	fmt.Println(errors.As(err, &unknown), errors.Is(err, context.DeadlineExceeded))

	sent, err := c.Append(ctx, unknown.Draft)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sent.SeqID, sent.Duplicate)
	// Output:
	// true true
	// 1 true
}

// Optimistic concurrency: append only if nothing came in between.
func ExampleExpectLastSeqID() {
	endpoints, _, stop := startExample()
	defer stop()
	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	_, err = c.Append(ctx, client.Draft{Timeline: "game/7", Payload: []byte("e4")}, client.ExpectLastSeqID(0))
	fmt.Println(err)
	_, err = c.Append(ctx, client.Draft{Timeline: "game/7", Payload: []byte("d4")}, client.ExpectLastSeqID(0))
	var conflict *tidemark.SequenceConflictError
	if errors.As(err, &conflict) {
		fmt.Println("somebody was faster; the last is", conflict.Last)
	}
	// Output:
	// <nil>
	// somebody was faster; the last is 1
}

// The last messages, newest first, from whatever node is next, but with everything
// that this client has appended.
func ExampleClient_Messages() {
	endpoints, _, stop := startExample()
	defer stop()
	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := range 5 {
		if _, err := c.Append(ctx, client.Draft{Timeline: "conv/42", Payload: []byte(fmt.Sprint("message ", i+1))}); err != nil {
			log.Fatal(err)
		}
	}

	for message, err := range c.Messages(ctx, "conv/42", client.Newest(2), client.Session()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s\n", message.SeqID, message.Payload)
	}
	// Output:
	// 5 message 5
	// 4 message 4
}

// Acknowledging, and asking who has read.
func ExampleClient_Ack() {
	endpoints, _, stop := startExample()
	defer stop()
	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for i := range 3 {
		if _, err := c.Append(ctx, client.Draft{Timeline: "conv/42", Payload: []byte(fmt.Sprint("message ", i+1))}); err != nil {
			log.Fatal(err)
		}
	}

	cursors, err := c.Ack(ctx, "bob", client.AckItem{Timeline: "conv/42", Delivered: 3, Read: 2})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("unread:", cursors[0].Last-cursors[0].Read)
	for cursor, err := range c.TimelineCursors(ctx, "conv/42", client.ReadAtLeast(2)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(cursor.Reader, "has read", cursor.Read)
	}
	// Output:
	// unread: 1
	// bob has read 2
}

// A batch is one call. With Atomic it is appended as a whole or not at all.
func ExampleClient_AppendBatch() {
	endpoints, cluster, stop := startExample()
	defer stop()
	c, err := client.New(endpoints)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	results, err := c.AppendBatch(ctx, []client.Draft{
		{Timeline: "inbox/alice", Payload: []byte("hello")},
		{Timeline: "inbox/bob", Payload: []byte("hello")},
	}, client.Atomic())
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		fmt.Println(result.Timeline, result.SeqID)
	}

	// Errors wrap those of package tidemark.
	cluster.nodes[0].setDeny(reasoned(codes.InvalidArgument, "INVALID_ARGUMENT", 0, "field", "items", "rule", "are too many"))
	_, err = c.AppendBatch(ctx, make([]client.Draft, 1))
	fmt.Println(errors.Is(err, tidemark.ErrInvalid))
	// Output:
	// inbox/alice 1
	// inbox/bob 1
	// true
}
