package rpc

import (
	"crypto/sha256"
	"encoding/base64"

	"tidemark"
)

// A page token says where the next page of a listing begins, and which listing it
// belongs to. It is URL-safe base64 without padding of:
//
//	u8    version, 1
//	8 B   first bytes of the SHA-256 of the query
//	rest  what the page before ended with
//
// It keeps no state on the server, so any node takes it, and it never expires.
const (
	tokenVersion   = 1
	tokenQueryHash = 8
)

// pageToken makes the token of the page after after. query must name the listing
// and all that decides what is in it.
func pageToken(query string, after []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(tokenHeader(query), after...))
}

// parsePageToken returns what the page before ended with, or nil for the first page.
func parsePageToken(token, query string) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	header := tokenHeader(query)
	switch {
	case err != nil || len(raw) <= len(header) || raw[0] != tokenVersion:
		return nil, tidemark.Invalid("page_token", "is not a next_page_token of this API")
	case string(raw[:len(header)]) != string(header):
		return nil, tidemark.Invalid("page_token", "belongs to another query; ask for the next page with the fields of the first")
	}
	return raw[len(header):], nil
}

func tokenHeader(query string) []byte {
	hash := sha256.Sum256([]byte(query))
	return append([]byte{tokenVersion}, hash[:tokenQueryHash]...)
}
