// Package process runs the servers that are measured, and reads from /proc what they use.
// It is for Linux alone. No server outlives the runner, however that one ends.
package process
