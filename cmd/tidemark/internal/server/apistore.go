package server

import (
	"fmt"

	"tidemark"
	"tidemark/pebblestore"
)

// apiStore is a store as the API reads it.
type apiStore struct{ *pebblestore.Store }

// Head returns the head with an applied index of the same view, which only a
// listing has. In byte order a timeline stands before all others that begin with its id.
func (s apiStore) Head(id tidemark.TimelineID) (tidemark.Head, uint64, error) {
	page, err := s.Timelines(id, "", 1)
	if err != nil {
		return tidemark.Head{}, 0, err
	}
	if len(page.Heads) == 0 || page.Heads[0].Timeline != id {
		return tidemark.Head{}, 0, fmt.Errorf("%w: %q", tidemark.ErrTimelineNotFound, id)
	}
	return page.Heads[0], page.Applied, nil
}

// Timelines is the store's, for a prefix that need not be an id.
func (s apiStore) Timelines(prefix, after tidemark.TimelineID, limit int) (tidemark.TimelinePage, error) {
	return s.Store.Timelines(string(prefix), after, limit)
}
