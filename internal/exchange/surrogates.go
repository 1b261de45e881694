package exchange

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
)

// checkSurrogates reports an error if an escape in the JSON text names one half of
// a surrogate pair without the other. encoding/json would put U+FFFD in its place.
func checkSurrogates(text []byte) error {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 || at+1 >= len(text) {
			return nil
		}
		text = text[at:]
		first, ok := unicodeEscape(text)
		if !ok {
			text = text[2:]
			continue
		}
		text = text[6:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, _ := unicodeEscape(text)
		if utf16.DecodeRune(first, second) == '�' {
			return fmt.Errorf("holds the escape \\u%04x, which is half a character", first)
		}
		text = text[6:]
	}
}

// unicodeEscape returns the code unit of the escape \uXXXX that text begins with.
func unicodeEscape(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(unit), err == nil
}
