package pebblestore

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"tidemark"
)

// wrapFull adds ErrDiskFull to an error that says so in the system's words.
func wrapFull(err error) error {
	if err == nil || errors.Is(err, tidemark.ErrDiskFull) || !isDiskFull(err) {
		return err
	}
	return fmt.Errorf("%w: %w", tidemark.ErrDiskFull, err)
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// wrapPebble turns an error of Pebble into the words of the root package: damage
// becomes ErrCorrupt with the file's name, where Pebble knows it.
func wrapPebble(err error) error {
	if err == nil || errors.Is(err, tidemark.ErrCorrupt) {
		return err
	}
	if !pebble.IsCorruptionError(err) {
		return wrapFull(err)
	}
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return fmt.Errorf("%w: file %s: %w", tidemark.ErrCorrupt, info.Path, err)
	}
	if detail := errorDetail(err); detail != "" {
		return fmt.Errorf("%w: %s: %w", tidemark.ErrCorrupt, detail, err)
	}
	return fmt.Errorf("%w: %w", tidemark.ErrCorrupt, err)
}

// errorDetail gathers what Pebble attaches to errors beside their message, such
// as which log it was replaying.
func errorDetail(err error) string {
	var details []string
	for ; err != nil; err = errors.Unwrap(err) {
		if d, ok := err.(interface{ ErrorDetail() string }); ok {
			details = append(details, d.ErrorDetail())
		}
	}
	return strings.Join(details, ", ")
}
