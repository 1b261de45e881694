package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteSize is a flag for a number of bytes, such as 4096, 64KiB or 1.5GiB.
type byteSize uint64

var byteUnits = []struct {
	suffix string
	bytes  float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}, {"", 1}}

// Set is pflag.Value's.
func (b *byteSize) Set(text string) error {
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(strings.TrimSpace(text), unit.suffix)
		if !ok {
			continue
		}
		number, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || math.IsNaN(number) || number < 0 || number*unit.bytes > math.MaxInt64 {
			break
		}
		*b = byteSize(number * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 256MiB or 4GiB", text)
}

// String is pflag.Value's.
func (b *byteSize) String() string {
	for i := 3; i >= 0; i-- {
		unit := uint64(byteUnits[i].bytes)
		if n := uint64(*b); n >= unit && n%unit == 0 {
			return fmt.Sprintf("%d%s", n/unit, byteUnits[i].suffix)
		}
	}
	return strconv.FormatUint(uint64(*b), 10)
}

// Type is pflag.Value's.
func (b *byteSize) Type() string { return "size" }
