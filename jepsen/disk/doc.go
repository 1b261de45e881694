// Package disk is the file system below a node's data directory.
package disk
