// Package workload is what clients do: each Workload keeps a few threads busy with
// one use of the API, through the SDK and, for single appends, the generated API,
// and records each operation with what the client was told.
//
// # What a client may conclude
//
// An outcome is recorded as the client knows it, and no better: an answer is OK; an
// error that docs/errors.md lists as having done nothing is Fail; everything else,
// as the SDK's tidemark.ErrOutcomeUnknown, is Unknown. A thread that retries
// begins a new operation with the same message id.
//
// # Adding a workload
//
// A workload for something new is one file that implements Workload, an entry in
// All, and a checker that knows its Kind.
package workload
