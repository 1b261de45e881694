package logstore

import (
	"testing"
)

// setVote writes a vote as hashicorp/raft does.
func setVote(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	if err := s.Stable().SetUint64([]byte(keyVoteTerm), term); err != nil {
		t.Fatal(err)
	}
	if err := s.Stable().Set([]byte(keyVoteCand), []byte(candidate)); err != nil {
		t.Fatal(err)
	}
}

func mustHaveVote(t testing.TB, s *Store, term uint64, candidate string) {
	t.Helper()
	gotTerm, err1 := s.Stable().GetUint64([]byte(keyVoteTerm))
	got, err2 := s.Stable().Get([]byte(keyVoteCand))
	if gotTerm != term || string(got) != candidate || err1 != nil || err2 != nil {
		t.Fatalf("vote is %d, %q (%v, %v), want %d, %q", gotTerm, got, err1, err2, term, candidate)
	}
}
