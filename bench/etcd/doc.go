// Package etcd runs three members of etcd, driven by its client.
package etcd
