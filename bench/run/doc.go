// Package run measures systems, one at a time and in turn: A B C A B C, so that what the
// machine does meanwhile meets all of them alike.
package run
