// Package result holds what was measured and where, as it is kept in a file of JSON.
package result
