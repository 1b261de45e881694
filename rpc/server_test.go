package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/fsm"
	"tidemark/fsm/fsmpb"
	pb "tidemark/rpc/tidemarkv1"
)

// counted is the value of a counter.
func counted(metric prometheus.Metric) float64 {
	var m dto.Metric
	if err := metric.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

// Beyond the calls or bytes in flight a call is refused at once with a hint when to
// come again; what is in flight is not disturbed.
func TestOverload(t *testing.T) {
	for limit, limits := range map[string]Limits{"calls": {MaxCalls: 2}, "bytes": {MaxBytes: 2500}} {
		t.Run(limit, func(t *testing.T) {
			node := leadingNode()
			node.hold = make(chan struct{})
			registry := prometheus.NewRegistry()
			d := open(t, newNetwork(), node, func(o *Options) { o.Limits, o.Registerer = limits, registry })
			request := anAppend(func(r *pb.AppendRequest) { r.Payload = make([]byte, 1000) })
			admitted := make(chan error, 2)
			for range 2 {
				go func() { admitted <- call(testContext(t), d, request) }()
			}
			eventually(t, "two are in flight", func() bool { return node.count() == 2 })
			_, details := wantReason(t, call(testContext(t), d, request), codes.ResourceExhausted, "OVERLOADED")
			if delay := details[1].(*errdetails.RetryInfo).RetryDelay.AsDuration(); delay <= 0 {
				t.Errorf("RetryDelay is %v", delay)
			}
			if node.count() != 2 {
				t.Error("the refused call was proposed")
			}
			if refused := counted(d.metrics.refused.WithLabelValues(limit)); refused != 1 {
				t.Errorf("%v refusals were counted", refused)
			}
			close(node.hold)
			if err := errors.Join(<-admitted, <-admitted); err != nil {
				t.Error(err)
			}
			if err := call(testContext(t), d, request); err != nil {
				t.Errorf("after the load: %v", err)
			}
		})
	}
}

// A deadline that is too short is told truthfully: nothing was proposed, or nobody knows.
func TestShortDeadlines(t *testing.T) {
	node := leadingNode()
	d := open(t, newNetwork(), node, nil)
	over, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	_, append_ := d.Append(over, anAppend(nil))
	_, each := d.AppendBatch(over, aBatch(2, nil))
	_, atomic := d.AppendBatch(over, atomically(aBatch(2, nil)))
	_, ack := d.Ack(over, anAck(1, nil))
	_, read := d.Read(over, &pb.ReadRequest{Timeline: "t"})
	for _, err := range []error{append_, each, atomic, ack, read} {
		wantReason(t, toStatus(err).Err(), codes.DeadlineExceeded, "DEADLINE_EXCEEDED")
	}
	if node.count() != 0 {
		t.Error("something was proposed after the deadline")
	}
	node.hold = make(chan struct{})
	defer close(node.hold)
	for _, request := range []proto.Message{anAppend(nil), aBatch(2, nil), atomically(aBatch(2, nil)), anAck(1, nil)} {
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		before := node.count()
		var err error
		switch req := request.(type) {
		case *pb.AppendRequest:
			_, err = d.Append(soon, req)
		case *pb.AppendBatchRequest:
			_, err = d.AppendBatch(soon, req)
		case *pb.AckRequest:
			_, err = d.Ack(soon, req)
		}
		reason := "OUTCOME_UNKNOWN"
		if node.count() == before {
			reason = "DEADLINE_EXCEEDED"
		}
		if got := reasonOf(err).name; got != reason {
			t.Errorf("%T: %s, and %d were proposed", request, got, node.count()-before)
		}
		if err := call(soon, d, request); err == nil {
			t.Errorf("%T succeeded", request)
		}
		cancel()
	}
}

// A call without a deadline gets one, so that nothing waits for ever.
func TestDefaultDeadline(t *testing.T) {
	node := leadingNode()
	node.hold = make(chan struct{})
	defer close(node.hold)
	d := open(t, newNetwork(), node, func(o *Options) { o.Limits.CallTimeout = 20 * time.Millisecond })
	wantReason(t, call(context.WithoutCancel(t.Context()), d, anAppend(nil)), codes.Unavailable, "OUTCOME_UNKNOWN")
}

// A panic fails its call, is counted and logged by its stack, and the node goes on.
func TestPanics(t *testing.T) {
	node := leadingNode()
	node.readIndex = func(context.Context) (uint64, error) { panic("secret") }
	store := &fakeStore{}
	d := open(t, newNetwork(), node, func(o *Options) {
		o.Store = store
		o.OpenSnapshot = func() (tidemark.SnapshotReader, error) { panic("secret") }
	})
	for _, request := range []proto.Message{&pb.ReadRequest{Timeline: "t"}, &pb.BackupRequest{}} {
		err := call(testContext(t), d, request)
		wantReason(t, err, codes.Internal, "INTERNAL")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the client is told %v", err)
		}
	}
	if n := counted(d.metrics.panics); n != 2 {
		t.Errorf("%v panics were counted", n)
	}
	if err := call(testContext(t), d, anAppend(nil)); err != nil {
		t.Error(err)
	}
}

// A result of another type than the command has is an unknown outcome: something was applied.
func TestUnexpectedResult(t *testing.T) {
	node := leadingNode()
	node.outcome = func(int, *fsmpb.Command) (any, error) { return fsm.NoopResult{}, nil }
	d := open(t, newNetwork(), node, nil)
	for _, request := range []proto.Message{anAppend(nil), atomically(aBatch(1, nil)), aBatch(1, nil), anAck(1, nil)} {
		wantReason(t, call(testContext(t), d, request), codes.Unavailable, "OUTCOME_UNKNOWN")
	}
}

// Health says SERVING exactly while the node is ready, tells those who watch, and
// says NOT_SERVING before anything else at shutdown.
func TestHealth(t *testing.T) {
	node := leadingNode()
	w := newNetwork()
	var d *door
	handedOver := make(chan grpc_health_v1.HealthCheckResponse_ServingStatus, 1)
	d = open(t, w, node, func(o *Options) {
		o.HandOver = func(ctx context.Context) error {
			reply, err := d.health.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			handedOver <- reply.GetStatus()
			return err
		}
	})
	health := grpc_health_v1.NewHealthClient(d.conn)
	for _, service := range []string{"", "tidemark.v1.TimelineService", "tidemark.v1.ClusterService"} {
		watch, err := health.Watch(testContext(t), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		wantHealth := func(want grpc_health_v1.HealthCheckResponse_ServingStatus) {
			t.Helper()
			reply, err := watch.Recv()
			if err != nil || reply.GetStatus() != want {
				t.Fatalf("%q is %v, %v; want %v", service, reply.GetStatus(), err, want)
			}
		}
		wantHealth(grpc_health_v1.HealthCheckResponse_SERVING)
		node.setReady(tidemark.ErrNoLeader)
		wantHealth(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		node.setReady(nil)
		wantHealth(grpc_health_v1.HealthCheckResponse_SERVING)
	}
	// The watches are still open: they must not hold up the shutdown.
	if err := d.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	if got := <-handedOver; got != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health was %v while leadership was handed over", got)
	}
}

// A node that is not ready is NOT_SERVING from the first moment.
func TestHealthAtStart(t *testing.T) {
	node := leadingNode()
	node.ready = tidemark.ErrNoLeader
	d := open(t, newNetwork(), node, nil)
	reply, err := grpc_health_v1.NewHealthClient(d.conn).Check(testContext(t), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || reply.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v, %v", reply.GetStatus(), err)
	}
}

// Reflection names the services, and is there in both versions that tools use.
func TestReflection(t *testing.T) {
	d := open(t, newNetwork(), leadingNode(), nil)
	v1, err := grpc_reflection_v1.NewServerReflectionClient(d.conn).ServerReflectionInfo(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := v1.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	reply, err := v1.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, service := range reply.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	want := []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
		"tidemark.v1.ClusterService", "tidemark.v1.TimelineService"}
	if !slices.Equal(names, want) {
		t.Errorf("services are %q", names)
	}
	if err := v1.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "tidemark.v1.TimelineService.Append",
	}}); err != nil {
		t.Fatal(err)
	}
	files, err := v1.Recv()
	if err != nil || len(files.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("no file for Append: %v, %v", files, err)
	}
}

// Shutdown refuses what comes, hands over, and waits for what is in flight; it can be
// called again.
func TestShutdownDrains(t *testing.T) {
	node := leadingNode()
	node.hold = make(chan struct{})
	order := make(chan string, 3)
	d := open(t, newNetwork(), node, func(o *Options) {
		o.HandOver = func(context.Context) error { order <- "handed over"; return nil }
	})
	inFlight := make(chan error, 1)
	go func() { inFlight <- call(testContext(t), d, anAppend(nil)) }()
	eventually(t, "it is in flight", func() bool { return node.count() == 1 })
	down := make(chan error, 1)
	go func() { down <- d.Shutdown(testContext(t)); order <- "down" }()
	if first := <-order; first != "handed over" {
		t.Errorf("first came %q", first)
	}
	_, err := d.callUnary(testContext(t), anAppend(nil), &grpc.UnaryServerInfo{FullMethod: pb.TimelineService_Append_FullMethodName}, nil)
	wantReason(t, err, codes.Unavailable, "STOPPING")
	close(node.hold)
	if err := errors.Join(<-inFlight, <-down); err != nil {
		t.Error(err)
	}
	if err := d.Shutdown(testContext(t)); err != nil {
		t.Errorf("again: %v", err)
	}
}

// A call that does not end is cut off when the time for Shutdown is over.
func TestShutdownForces(t *testing.T) {
	node := leadingNode()
	node.hold = make(chan struct{})
	defer close(node.hold)
	d := open(t, newNetwork(), node, nil)
	inFlight := make(chan error, 1)
	go func() { inFlight <- call(testContext(t), d, anAppend(nil)) }()
	eventually(t, "it is in flight", func() bool { return node.count() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := d.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	d.stopped = nil // the cleanup's Shutdown has nothing to complain of
	if err := <-inFlight; status.Code(err) != codes.Unavailable {
		t.Errorf("the call got %v", err)
	}
}

// The counters tell what was done.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	node := leadingNode()
	node.outcome = func(n int, command *fsmpb.Command) (any, error) {
		return fsm.AppendResult{SeqID: 1, Duplicate: n == 2}, nil
	}
	d := open(t, newNetwork(), node, func(o *Options) { o.Registerer = registry })
	for range 3 {
		if err := call(testContext(t), d, anAppend(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := call(testContext(t), d, anAppend(func(r *pb.AppendRequest) { r.Timeline = "" })); err == nil {
		t.Fatal("an invalid append succeeded")
	}
	for name, want := range map[string]float64{
		"appended": 2, "duplicates": 1, "ok": 3, "invalid": 1,
	} {
		got := map[string]prometheus.Metric{
			"appended": d.metrics.appended, "duplicates": d.metrics.duplicates,
			"ok":      d.metrics.calls.WithLabelValues("Append", "OK"),
			"invalid": d.metrics.calls.WithLabelValues("Append", "InvalidArgument"),
		}[name]
		if value := counted(got); value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	if families, err := registry.Gather(); err != nil || len(families) < 5 {
		t.Errorf("gathered %d families, %v", len(families), err)
	}
	if _, err := New(Options{NodeID: "n1", Node: node, Store: &fakeStore{}, Registerer: registry}); err == nil {
		t.Error("registering twice succeeded")
	}
}

// fakeSnapshot streams its bytes, then fails with err.
type fakeSnapshot struct {
	io.Reader
	closed sync.Once
	onShut func()
}

func (s *fakeSnapshot) Close() error              { s.closed.Do(s.onShut); return nil }
func (s *fakeSnapshot) Applied() tidemark.Applied { return tidemark.Applied{} }
func (s *fakeSnapshot) Size() int64               { return 0 }

// Backup streams the snapshot, one at a time, and closes it also when the client vanishes.
func TestBackup(t *testing.T) {
	content := strings.Repeat("tidemark", 100<<10)
	closed := make(chan struct{}, 8)
	var reader io.Reader
	d := open(t, newNetwork(), leadingNode(), func(o *Options) {
		o.OpenSnapshot = func() (tidemark.SnapshotReader, error) {
			return &fakeSnapshot{Reader: reader, onShut: func() { closed <- struct{}{} }}, nil
		}
	})
	reader = strings.NewReader(content)
	stream, err := d.cluster.Backup(testContext(t), &pb.BackupRequest{})
	var got strings.Builder
	for err == nil {
		var chunk *pb.BackupResponse
		if chunk, err = stream.Recv(); err == nil {
			got.Write(chunk.Chunk)
		}
	}
	if err != io.EOF || got.String() != content {
		t.Fatalf("%d bytes, then %v", got.Len(), err)
	}
	<-closed

	reader = io.MultiReader(strings.NewReader("x"), &brokenReader{fmt.Errorf("%w: /secret", tidemark.ErrCorrupt)})
	stream, err = d.cluster.Backup(testContext(t), &pb.BackupRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, codes.DataLoss, "CORRUPT")
	<-closed

	reader = endlessReader{}
	ctx, cancel := context.WithCancel(testContext(t))
	if stream, err = d.cluster.Backup(ctx, &pb.BackupRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, call(testContext(t), d, &pb.BackupRequest{}), codes.ResourceExhausted, "OVERLOADED")
	cancel()
	<-closed
}

type brokenReader struct{ err error }

func (r *brokenReader) Read([]byte) (int, error) { return 0, r.err }

type endlessReader struct{}

func (endlessReader) Read(p []byte) (int, error) { return len(p), nil }
