// Package load makes calls in a closed or an open loop, and measures them without
// coordinated omission: latencies count from when a call was to begin.
package load
