// Package hunt shows that the harness finds what it is there to find: it runs
// servers with a bug planted in them on purpose (package internal/planted), and the
// runs must fail by the checker that is there for such a bug. A harness that is always
// green shows nothing.
//
// It shares names with the server, and no code: internal/planted is a list of words.
package hunt
