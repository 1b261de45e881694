// Package postgres runs PostgreSQL, alone or with synchronous standbys, driven by pgx.
package postgres
