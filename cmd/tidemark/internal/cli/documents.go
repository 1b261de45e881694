package cli

import (
	"runtime"
	"time"

	"tidemark/client"
	"tidemark/cmd/tidemark/internal/transfer"
	"tidemark/internal/exchange"
)

// The documents of --output json and jsonl. Field names are those of the API, and
// docs/format.md promises them. A message is an exchange.Record. Positions are
// base64, as in the API's own JSON.

type appendDocument struct {
	Timeline   string    `json:"timeline"`
	MessageID  string    `json:"message_id"`
	SeqID      uint64    `json:"seq_id"`
	ServerTime time.Time `json:"server_time"`
	Digest     string    `json:"digest"`
	Duplicate  bool      `json:"duplicate"`
	Inboxes    int       `json:"inboxes,omitempty"`
	Position   []byte    `json:"position"`
}

func appendDocumentOf(r *client.AppendResult) appendDocument {
	return appendDocument{
		Timeline: string(r.Timeline), MessageID: string(r.ID), SeqID: uint64(r.SeqID), ServerTime: r.ServerTime,
		Digest: r.Digest.String(), Duplicate: r.Duplicate, Inboxes: r.Inboxes, Position: r.Position.Token(),
	}
}

type pageDocument struct {
	Messages        []exchange.Record `json:"messages"`
	HasMore         bool              `json:"has_more"`
	PreviousDigest  string            `json:"previous_digest"`
	Timeline        timelineDocument  `json:"timeline"`
	Position        []byte            `json:"position"`
	AppliedIndex    uint64            `json:"applied_index"`
	StalenessMillis int64             `json:"staleness_millis"`
	Endpoint        string            `json:"endpoint"`
}

type timelineDocument struct {
	Timeline       string            `json:"timeline"`
	FirstSeqID     uint64            `json:"first_seq_id"`
	LastSeqID      uint64            `json:"last_seq_id"`
	Count          uint64            `json:"count"`
	Bytes          uint64            `json:"bytes"`
	CreatedAt      time.Time         `json:"created_at"`
	LastServerTime time.Time         `json:"last_server_time"`
	Digest         string            `json:"digest"`
	Attributes     map[string]string `json:"attributes,omitempty"`
}

func timelineDocumentOf(t client.Timeline) timelineDocument {
	return timelineDocument{
		Timeline: string(t.ID), FirstSeqID: uint64(t.First), LastSeqID: uint64(t.Last), Count: t.Count, Bytes: t.Bytes, Attributes: t.Attributes,
		CreatedAt: t.CreatedTime, LastServerTime: t.LastTime, Digest: t.Digest.String(),
	}
}

type cursorDocument struct {
	Timeline       string `json:"timeline"`
	Reader         string `json:"reader"`
	DeliveredSeqID uint64 `json:"delivered_seq_id"`
	ReadSeqID      uint64 `json:"read_seq_id"`
	LastSeqID      uint64 `json:"last_seq_id"`
	FloorSeqID     uint64 `json:"floor_seq_id,omitempty"`
	// Unread is absent where it is not counted.
	Unread       *uint64    `json:"unread,omitempty"`
	LastServerAt *time.Time `json:"last_server_time,omitempty"`
	// UpdatedAt is absent for a cursor that never moved.
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
}

func cursorDocumentOf(c client.Cursor) cursorDocument {
	d := cursorDocument{
		Timeline: string(c.Timeline), Reader: string(c.Reader), DeliveredSeqID: uint64(c.Delivered),
		ReadSeqID: uint64(c.Read), LastSeqID: uint64(c.Last), FloorSeqID: uint64(c.Floor),
	}
	if c.UnreadKnown {
		d.Unread = &c.Unread
	}
	if !c.LastTime.IsZero() {
		d.LastServerAt = &c.LastTime
	}
	if !c.UpdatedTime.IsZero() {
		d.UpdatedAt = &c.UpdatedTime
	}
	return d
}

// recordOf renders a message that a node returned.
func recordOf(m *client.Message) (exchange.Record, error) {
	words, err := transfer.Words(m)
	if err != nil {
		return exchange.Record{}, err
	}
	return exchange.FromMessage(words), nil
}

type versionDocument struct {
	Version     string `json:"version"`
	Go          string `json:"go"`
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	StoreFormat uint32 `json:"store_format_version"`
}

func versionOf(version string, format uint32) versionDocument {
	return versionDocument{version, runtime.Version(), runtime.GOOS, runtime.GOARCH, format}
}
