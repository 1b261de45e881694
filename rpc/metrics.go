package rpc

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"tidemark/rpc/tidemarkv1"
)

// metrics are what the server counts. Those of a method are resolved once, because
// looking up labels costs as much as the counting.
type metrics struct {
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	methods  map[string]*methodMetrics
	messages prometheus.Histogram

	appended, duplicates prometheus.Counter
	forwarded, refused   *prometheus.CounterVec
	panics               prometheus.Counter
}

// methodMetrics are those of one method.
type methodMetrics struct {
	name string
	// seconds is nil for a stream.
	seconds prometheus.Observer
	ok      prometheus.Counter
}

// latencies are in seconds: from a local read to a call that met an election.
var latencies = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// services are those that the metrics, the limits and the health are kept for.
var services = []grpc.ServiceDesc{tidemarkv1.TimelineService_ServiceDesc, tidemarkv1.ClusterService_ServiceDesc}

func newMetrics(a *admission) (*metrics, []prometheus.Collector) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_rpc_calls_total", Help: "Calls that ended, by method and gRPC status code. A stream is one call.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidemark_rpc_call_seconds", Help: "Time from a call's request to its reply, by method. Streams are not in it.", Buckets: latencies,
		}, []string{"method"}),
		messages: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemark_rpc_append_seconds", Help: "Time from proposing an append to its outcome, on the leader, by call, batch or stream.", Buckets: latencies,
		}),
		appended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_rpc_messages_appended_total", Help: "Messages that this node appended as the leader.",
		}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_rpc_messages_duplicate_total", Help: "Appends that found their message there already.",
		}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_rpc_calls_forwarded_total", Help: "Calls that this node passed on to the leader, by method.",
		}, []string{"method"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_rpc_calls_refused_total", Help: "Calls refused because a limit on what is in flight was reached, by limit.",
		}, []string{"limit"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_rpc_panics_total", Help: "Panics in handlers. Each is a fault of the program; the log holds its stack.",
		}),
		methods: make(map[string]*methodMetrics),
	}
	for _, service := range services {
		for _, method := range service.Methods {
			m.addMethod(service.ServiceName, method.MethodName).seconds = m.seconds.WithLabelValues(method.MethodName)
		}
		for _, stream := range service.Streams {
			m.addMethod(service.ServiceName, stream.StreamName)
		}
	}
	return m, append([]prometheus.Collector{
		m.calls, m.seconds, m.messages, m.appended, m.duplicates, m.forwarded, m.refused, m.panics,
	}, a.gauges()...)
}

func (m *metrics) addMethod(service, name string) *methodMetrics {
	method := &methodMetrics{name: name, ok: m.calls.WithLabelValues(name, codes.OK.String())}
	m.methods["/"+service+"/"+name] = method
	return method
}

// done counts a call that ended.
func (m *metrics) done(method *methodMetrics, code codes.Code, took time.Duration) {
	if method.seconds != nil {
		method.seconds.Observe(took.Seconds())
	}
	if code == codes.OK {
		method.ok.Inc()
		return
	}
	m.calls.WithLabelValues(method.name, code.String()).Inc()
}

// outcome counts one append that was applied.
func (m *metrics) outcome(duplicate bool, since time.Time) {
	m.messages.Observe(time.Since(since).Seconds())
	if duplicate {
		m.duplicates.Inc()
		return
	}
	m.appended.Inc()
}

// register adds the collectors; it undoes what it did if one is refused.
func register(to prometheus.Registerer, collectors []prometheus.Collector) error {
	for i, collector := range collectors {
		if err := to.Register(collector); err != nil {
			for _, done := range collectors[:i] {
				to.Unregister(done)
			}
			return errors.Join(errors.New("rpc: registering metrics"), err)
		}
	}
	return nil
}

// isOurs says that a method belongs to the API, and not to health or reflection.
func isOurs(fullMethod string) bool { return strings.HasPrefix(fullMethod, "/tidemark.") }
