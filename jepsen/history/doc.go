// Package history is what a run leaves behind: one Operation for each thing that a
// client asked for, with the times of asking and answering and what the answer
// showed; the faults, with their times; and samples of the nodes. Checkers judge it
// without knowing how it came to be.
//
// # Words
//
// A process is one logical client thread: it has at most one operation at a time.
// A process whose operation ended unknown goes on under a new id, because the
// operation may still take effect while the thread is busy with its next one.
//
// Times are durations since the run began, by one monotonic clock. Operation A is
// before B if A.Completed < B.Invoked; otherwise, if equal too, they are concurrent.
//
// # File format
//
// JSON lines, in gzip if the name ends in ".gz". Each line is an object with one key
// that says what it holds: "meta" (first), "operation", "fault", "sample" or "log".
// Durations are nanoseconds, with "_ns" in their names. A file that ends within a
// line, because its writer was killed, is read up to the last whole line, and
// Read says so with ErrTruncated.
//
// # Imports
//
// It imports the root package's words for content hashes and digests, and nothing
// else of the project.
package history
