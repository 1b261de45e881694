package report

import (
	"fmt"
	"strconv"
	"time"
)

// count is a number with commas between its thousands.
func count(value float64) string {
	digits := strconv.FormatFloat(value, 'f', 0, 64)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// rate is a rate with as many digits as it is good for.
func rate(value float64) string {
	switch {
	case value >= 100_000:
		value = 1000 * float64(int64(value/1000+0.5))
	case value >= 10_000:
		value = 100 * float64(int64(value/100+0.5))
	case value >= 1000:
		value = 10 * float64(int64(value/10+0.5))
	}
	return count(value)
}

func rates(s spread) string {
	return fmt.Sprintf("%s (%s–%s)", rate(s.median), rate(s.min), rate(s.max))
}

// ratio is a ratio with its spread.
func ratio(s spread) string {
	return fmt.Sprintf("%s (%s–%s)", three(s.median), three(s.min), three(s.max))
}

// three is a number with three digits, or more if it is larger.
func three(value float64) string {
	switch {
	case value >= 100:
		return count(value)
	case value >= 10:
		return strconv.FormatFloat(value, 'f', 1, 64)
	default:
		return strconv.FormatFloat(value, 'f', 2, 64)
	}
}

// duration is a time in the unit in which it has one to three digits before the point.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Millisecond:
		return three(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return three(float64(d)/float64(time.Millisecond)) + " ms"
	default:
		return three(d.Seconds()) + " s"
	}
}

func mebibytes(bytes float64) string { return count(bytes/(1<<20)) + " MiB" }
