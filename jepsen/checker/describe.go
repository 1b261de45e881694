package checker

import (
	"fmt"
	"strconv"
	"time"
)

// answer renders what stands at a place; a digest by its first digits.
func answer(seq uint64, digest string, serverTime int64) string {
	return fmt.Sprintf("%d (digest %.8s, server time %s)", seq, digest, instant(serverTime))
}

func instant(serverTime int64) string {
	return time.Unix(0, serverTime).UTC().Format("15:04:05.000000000")
}

func formatSeq(seq uint64) string { return strconv.FormatUint(seq, 10) }
