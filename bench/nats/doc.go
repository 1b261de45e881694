// Package nats runs three nodes of NATS JetStream, driven by nats.go.
package nats
