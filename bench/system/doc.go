// Package system says what a system under comparison is, and what work all of them do.
package system
