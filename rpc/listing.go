package rpc

import (
	"google.golang.org/protobuf/proto"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// listing is what the requests of all listings have.
type listing struct {
	limit int
	level level
}

// listRequest is a request of a listing.
type listRequest interface {
	proto.Message
	GetPageSize() uint32
	GetPageToken() string
	GetConsistency() *tidemarkv1.Consistency
}

// parseListing parses what all listings have, of things that errors name. after is what
// the page token, which is bound to the listing's name, goes on behind; nil for the start.
func parseListing(req listRequest, name, things string) (l listing, after []byte, err error) {
	if l.limit, err = parseLimit("page_size", req.GetPageSize(), tidemark.DefaultListItems, tidemark.MaxListItems, things); err != nil {
		return l, nil, err
	}
	if l.level, err = parseLevel(req.GetConsistency()); err != nil {
		return l, nil, err
	}
	after, err = parsePageToken(req.GetPageToken(), name)
	return l, after, err
}
