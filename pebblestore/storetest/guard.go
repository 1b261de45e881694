package storetest

import "testing"

// Guard fails if a count is more than a tenth above the recorded one.
func Guard(tb testing.TB, what string, got, recorded float64) {
	tb.Helper()
	tb.Logf("%s: %.2f, recorded %.2f", what, got, recorded)
	if got > recorded*1.1 {
		tb.Errorf("%s: %.2f, which is more than a tenth above the recorded %.2f", what, got, recorded)
	}
}
