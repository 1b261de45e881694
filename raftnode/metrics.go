package raftnode

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidemark"
)

// Metrics are the numbers of one node, for Prometheus.
type Metrics struct {
	proposals      *prometheus.CounterVec
	proposeSeconds prometheus.Histogram
	entryBytes     prometheus.Histogram
	entryCommands  prometheus.Histogram
	overloads      prometheus.Counter
	voidEntries    prometheus.Counter
	applySeconds   prometheus.Histogram

	readIndexRounds  *prometheus.CounterVec
	readIndexSeconds prometheus.Histogram

	snapshotsTaken, snapshotsSent, snapshotsInstalled prometheus.Counter
	snapshotBytesSent, snapshotBytesReceived          prometheus.Counter
	installAlarms                                     prometheus.Counter

	leadershipChanges prometheus.Counter
	stalledFollowers  *prometheus.GaugeVec
	logAppendSeconds  prometheus.Histogram
	logAppendBytes    prometheus.Counter
	voteSeconds       prometheus.Histogram
	refusals          *prometheus.CounterVec
	connections       *prometheus.CounterVec

	register prometheus.Registerer
}

const metricsPrefix = "tidemark_raft_"

// latencyBuckets go from a tenth of a millisecond, which is less than an fsync,
// to thirteen seconds, which is longer than the node tolerates.
var latencyBuckets = prometheus.ExponentialBuckets(0.0001, 2, 18)

// NewMetrics registers the metrics of one node with r, or with nothing if r is
// nil. It panics if r has them already.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{register: r}
	counter := func(name, help string) prometheus.Counter {
		return registered(r, prometheus.NewCounter(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}))
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help}, []string{label}))
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return registered(r, prometheus.NewHistogram(prometheus.HistogramOpts{Name: metricsPrefix + name, Help: help, Buckets: buckets}))
	}
	m.proposals = counters("proposals_total", "Commands proposed by this node, by outcome: applied, not_applied or unknown.", "outcome")
	m.proposeSeconds = histogram("commit_seconds", "Time from handing an entry to Raft until it is applied here.", latencyBuckets)
	m.entryBytes = histogram("entry_bytes", "Size of the entries that this node proposed.", prometheus.ExponentialBuckets(64, 2, 14))
	m.entryCommands = histogram("entry_commands", "Commands per entry that this node proposed.", prometheus.ExponentialBuckets(1, 2, 11))
	m.overloads = counter("overloads_total", "Commands refused because too much was waiting.")
	m.voidEntries = counter("void_entries_total", "Entries applied without effect because leadership changed while they were proposed.")
	m.applySeconds = histogram("apply_seconds", "Time to apply one batch of committed entries.", latencyBuckets)
	m.readIndexRounds = counters("read_index_rounds_total", "Read index rounds, by who answered: leader or follower, and failed ones.", "role")
	m.readIndexSeconds = histogram("read_index_seconds", "Duration of a read index round.", latencyBuckets)
	m.snapshotsTaken = counter("snapshots_taken_total", "Times that the state was made durable so that the log could be shortened.")
	m.snapshotsSent = counter("snapshots_sent_total", "Snapshots opened for a follower.")
	m.snapshotsInstalled = counter("snapshots_installed_total", "Snapshots received and made the state.")
	m.snapshotBytesSent = counter("snapshot_sent_bytes_total", "Bytes of snapshots sent.")
	m.snapshotBytesReceived = counter("snapshot_received_bytes_total", "Bytes of snapshots received.")
	m.installAlarms = counter("install_alarms_total", "Snapshots installed beyond three in a minute.")
	m.leadershipChanges = counter("leader_changes_total", "Times that this node saw another leader, or none.")
	m.stalledFollowers = registered(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: metricsPrefix + "stalled_follower",
		Help: "1 for a member that answers while its log does not follow this leader's."}, []string{"node_id"}))
	m.logAppendSeconds = histogram("log_append_seconds", "Time to append to the log, with its fsync.", latencyBuckets)
	m.logAppendBytes = counter("log_append_bytes_total", "Bytes of data appended to the log.")
	m.voteSeconds = histogram("stable_write_seconds", "Time to write the term or the vote, with its fsync.", latencyBuckets)
	m.refusals = counters("peer_refusals_total", "Connections between nodes that were refused, by reason.", "reason")
	m.connections = counters("peer_connections_total", "Connections between nodes that came about, by kind.", "kind")
	return m
}

func registered[C prometheus.Collector](r prometheus.Registerer, c C) C {
	if r != nil {
		r.MustRegister(c)
	}
	return c
}

// watch exports the numbers that the node has anyway. The returned function ends it.
func (m *Metrics) watch(n *Node) (stop func()) {
	if m.register == nil {
		return func() {}
	}
	var all []prometheus.Collector
	gauge := func(name, help string, value func() float64) {
		g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: metricsPrefix + name, Help: help}, value)
		m.register.MustRegister(g)
		all = append(all, g)
	}
	gauge("term", "Current term.", func() float64 { return float64(n.raft.CurrentTerm()) })
	gauge("is_leader", "1 if this node takes proposals.", func() float64 {
		if n.IsLeader() {
			return 1
		}
		return 0
	})
	gauge("commit_index", "Last index known to be committed.", func() float64 { return float64(n.raft.CommitIndex()) })
	gauge("applied_index", "Last index that the state machine holds.", func() float64 { return float64(n.machine.Applied().Index) })
	gauge("durable_index", "Last applied index that a crash cannot take back.", func() float64 { return float64(n.machine.DurableIndex()) })
	gauge("last_log_index", "Last index of the log.", func() float64 { return float64(n.raft.LastIndex()) })
	gauge("first_log_index", "First index of the log.", func() float64 { return float64(n.logs.FirstIndex()) })
	gauge("log_disk_bytes", "What the log takes on the disk.", func() float64 {
		size, err := n.logs.DiskBytes()
		if err != nil {
			return -1
		}
		return float64(size)
	})
	gauge("staleness_seconds", "How old a local read may be.", func() float64 { return n.Staleness().Seconds() })
	return func() {
		for _, c := range all {
			m.register.Unregister(c)
		}
	}
}

func (m *Metrics) observeProposal(commands int, took time.Duration, err error) {
	label := "applied"
	switch {
	case errors.Is(err, tidemark.ErrOutcomeUnknown):
		label = "unknown"
	case err != nil:
		label = "not_applied"
	default:
		m.proposeSeconds.Observe(took.Seconds())
	}
	m.proposals.WithLabelValues(label).Add(float64(commands))
}
