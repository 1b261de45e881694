// Package host is where the nodes of a cluster under test live.
package host
