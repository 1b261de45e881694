package pebblestore

import (
	"fmt"

	"tidemark"
)

// Digests returns the digests of the messages with the SeqIDs, which must be in rising
// order, with the head of the timeline in the same view and an applied index that
// covers it. That of the last message that is gone is still known. It stops before the first SeqID that the timeline has not reached, so there
// may be fewer digests than SeqIDs. One that is gone is ErrMessageNotFound.
func (s *Store) Digests(id tidemark.TimelineID, seqs []tidemark.SeqID) (digests []tidemark.Digest, h tidemark.Head, applied uint64, err error) {
	v, err := s.view()
	if err != nil {
		return nil, h, 0, err
	}
	defer v.close()
	if h, err = v.mustHead(id); err != nil {
		return nil, h, 0, err
	}
	for _, seq := range seqs {
		if seq > h.Last {
			break
		}
		if seq == h.First-1 && seq > 0 {
			digests = append(digests, h.TrimmedDigest)
			continue
		}
		if seq < h.First {
			return nil, h, 0, fmt.Errorf("%w: %q holds %d to %d, not %d", tidemark.ErrMessageNotFound, id, h.First, h.Last, seq)
		}
		record, err := v.record(h.Number, seq)
		if err != nil {
			return nil, h, 0, err
		}
		digest, err := messageDigest(v.key, record)
		if err != nil {
			return nil, h, 0, err
		}
		digests = append(digests, digest)
	}
	applied, err = v.appliedIndex()
	return digests, h, applied, err
}
