// Package client is the Go SDK of Tidemark. The smallest program:
//
//	c, err := client.New([]string{"10.0.0.1:7400", "10.0.0.2:7400", "10.0.0.3:7400"})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//
//	sent, err := c.Append(ctx, client.Draft{Timeline: "conv/42", Sender: "alice", Payload: []byte("hello")})
//	if err != nil {
//		return err
//	}
//	for message, err := range c.Messages(ctx, "conv/42", client.From(sent.SeqID)) {
//		if err != nil {
//			return err
//		}
//		fmt.Printf("%d %s: %s\n", message.SeqID, message.Sender, message.Payload)
//	}
//
// # What it does by itself
//
// It finds the leader and follows it, and retries what is safe to retry until
// the context of the call ends: give every call a context with a deadline. It
// never turns an unknown outcome into a success or into a second message. When a
// context ends while a write may or may not have been applied, the error is
// [tidemark.ErrOutcomeUnknown] and, for an append, an *[UnknownOutcomeError] that
// holds the draft to call Append with again; the message id makes that safe.
//
// All other errors are definite: nothing was changed. They wrap the errors of
// package tidemark, for errors.Is.
//
// # Order
//
// Concurrent Append and AppendAsync calls share one pipelined stream. Appends of
// one goroutine to one timeline take effect in the order of the calls, also when
// some of them have to be sent again. AppendBatch is a call of its own: it is
// ordered after an append only once that append was answered.
//
// # Following
//
// [Client.Follow] yields the messages of one timeline as they come; a [Tail] follows up to
// 100,000 timelines on one stream. When the node that serves it fails, or has not heard
// from a leader for a while, another one goes on behind the last message.
//
// # Imports
//
// It stands on the root package's words and on the generated API. It must not
// import any package of the server.
package client
