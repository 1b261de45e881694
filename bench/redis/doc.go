// Package redis runs Redis, alone or with replicas, driven by rueidis.
package redis
