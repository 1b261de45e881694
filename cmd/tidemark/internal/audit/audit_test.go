package audit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidemark"
	"tidemark/client"
	"tidemark/cmd/tidemark/internal/audit"
	"tidemark/rpc/rpctest"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, endpoints []string) *client.Client {
	t.Helper()
	c, err := client.New(endpoints)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c *client.Client, timeline tidemark.TimelineID, payloads ...string) {
	t.Helper()
	for i, payload := range payloads {
		if _, err := c.Append(within(t), client.Draft{Timeline: timeline, ID: tidemark.MessageID(fmt.Sprint("m", i)), Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
	}
}

// Nodes of one cluster are equal, also while it is written to.
func TestReplicasAreEqual(t *testing.T) {
	cluster := rpctest.Start(t, 3, rpctest.Options{})
	c := dial(t, cluster.Addresses())
	for i := range 5 {
		write(t, c, tidemark.TimelineID(fmt.Sprint("conv/", i)), "a", "b", "c")
	}
	write(t, c, "other", "x")
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			timeline := tidemark.TimelineID(fmt.Sprint("conv/", i%7))
			result, err := c.Append(context.Background(), client.Draft{Timeline: timeline})
			if err == nil {
				_, err = c.Ack(context.Background(), "alice", client.AckItem{Timeline: timeline, Read: result.SeqID})
			}
			if err == nil {
				_, err = c.UpdateTimeline(context.Background(), timeline, map[string]string{"n": fmt.Sprint(i)})
			}
			if err == nil {
				_, err = c.SetRecipients(context.Background(), timeline, tidemark.RecipientChange{Add: []tidemark.TimelineID{tidemark.TimelineID(fmt.Sprint("inbox/", i))}})
			}
			if err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 5 {
		report, err := audit.Run(within(t), audit.Config{Endpoints: cluster.Addresses(), Prefix: "conv/", Cursors: true, Settings: true})
		if err != nil || report.Difference != nil || report.Timelines < 5 || report.Messages < 15 {
			t.Fatalf("got %+v, %v", report, err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// Two clusters that are asked as if they were one are told apart, with the place.
func TestDifferencesAreNamed(t *testing.T) {
	clusters := []*rpctest.Cluster{rpctest.Start(t, 1, rpctest.Options{}), rpctest.Start(t, 1, rpctest.Options{})}
	var endpoints []string
	var clients []*client.Client
	for _, cluster := range clusters {
		endpoints = append(endpoints, cluster.Addresses()...)
		clients = append(clients, dial(t, cluster.Addresses()))
	}
	compare := func(prefix string, wants ...string) {
		t.Helper()
		report, err := audit.Run(within(t), audit.Config{Endpoints: endpoints, Prefix: prefix, Cursors: true, Settings: true})
		if err != nil {
			t.Fatal(err)
		}
		if report.Difference == nil {
			t.Fatalf("%s: no difference", prefix)
		}
		for _, want := range wants {
			if !strings.Contains(report.Difference.Error(), want) {
				t.Errorf("%s: %v; want %q", prefix, report.Difference, want)
			}
		}
	}
	// Server times differ between clusters, so the first message does already.
	write(t, clients[0], "a", "one", "two")
	write(t, clients[1], "a", "one", "two")
	compare("a", "a, message 1", "digest")
	write(t, clients[0], "b", "one")
	write(t, clients[1], "c", "1", "2", "3", "4", "5", "6") // its log is longer then
	compare("b", "b, message 1: "+endpoints[0]+" shows 1 messages", "0 messages")
	for i, c := range clients {
		if _, err := c.UpdateTimeline(within(t), "settings", map[string]string{"topic": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	compare("settings", "settings: "+endpoints[0], `"topic"="0"`, `"topic"="1"`)
	for i, c := range clients {
		if _, err := c.SetRecipients(within(t), "sets", tidemark.RecipientChange{Add: []tidemark.TimelineID{tidemark.TimelineID(fmt.Sprint("inbox/", i))}}); err != nil {
			t.Fatal(err)
		}
	}
	compare("sets", "sets: "+endpoints[0], "1 recipients with the checksum")
	if err := clients[1].SetPolicy(within(t), tidemark.Policy{Prefix: "logs/", MaxMessages: 7}); err != nil {
		t.Fatal(err)
	}
	compare("none/", "the cluster: "+endpoints[0], "MaxMessages:7")
	if _, err := audit.Run(within(t), audit.Config{Endpoints: endpoints[:1]}); err == nil {
		t.Error("one node was compared with nothing")
	}
}
