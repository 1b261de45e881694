package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tidemark/bench/system"
)

const (
	// A message whose id is there already violates the unique index, and the counter with it
	// goes back: no number is burnt.
	insert = `
WITH head AS (INSERT INTO timeline VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET last = timeline.last + 1 RETURNING last)
INSERT INTO message (timeline, seq, id, sender, payload) SELECT $1, last, $2, $3, $4 FROM head RETURNING seq, at`
	selectPage = `SELECT seq, id, sender, payload, at FROM message WHERE timeline = $1 AND seq >= $2 ORDER BY seq LIMIT $3`

	fillTimelines = `INSERT INTO timeline SELECT 'tl/' || n, $1::bigint FROM generate_series(0, $2::int - 1) n`
	fillMessages  = `
INSERT INTO message (timeline, seq, id, sender, payload)
SELECT 'tl/' || n, m, gen_random_uuid(), 'bench',
	decode((SELECT string_agg(md5(random()::text || n || m || k), '') FROM generate_series(1, $3::int / 16) k), 'hex')
FROM generate_series(1, $1::int) m, generate_series(0, $2::int - 1) n
ORDER BY m, n`
)

// poolSize is how many connections there are at most. 256 were measured to do no more, with
// longer tails and twice the memory.
const poolSize = 64

func timeline(n int) string { return "tl/" + strconv.Itoa(n) }

// Fill implements system.Cluster. The order is that of the messages' numbers: each
// timeline is strewn over the table, as if they had come in turn.
func (c *cluster) Fill(ctx context.Context) error {
	if err := c.execute(ctx, fillTimelines, system.Backlog, system.Timelines); err != nil {
		return err
	}
	if err := c.execute(ctx, fillMessages, system.Backlog, system.Timelines, system.Payload); err != nil {
		return err
	}
	// What autovacuum and the checkpointer would come to do in the middle of the run.
	if err := c.execute(ctx, "VACUUM ANALYZE"); err != nil {
		return err
	}
	return c.execute(ctx, "CHECKPOINT")
}

// Open implements system.Cluster.
func (c *cluster) Open(ctx context.Context, kind system.Kind, way string, callers int) (*system.Driver, error) {
	pool, err := connect(ctx, c.primary, min(callers, poolSize))
	if err != nil {
		return nil, err
	}
	d := &system.Driver{Close: pool.Close}
	switch way {
	case wayInsert:
		d.Call = func(ctx context.Context, _ int) error {
			var seq int64
			var at time.Time
			return pool.QueryRow(ctx, insert, timeline(system.AnyTimeline()), [16]byte(system.NewID()), "bench", system.NewPayload()).Scan(&seq, &at)
		}
	case waySelect:
		d.Call = func(ctx context.Context, _ int) error { return readPage(ctx, pool) }
	default:
		pool.Close()
		return nil, system.UnknownWay(kind, way)
	}
	return d, nil
}

// connect returns a pool in which all connections are made, each of which takes the server
// some milliseconds.
func connect(ctx context.Context, address string, connections int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url(address))
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	taken := make([]*pgxpool.Conn, 0, connections)
	for err == nil && len(taken) < connections {
		var connection *pgxpool.Conn
		if connection, err = pool.Acquire(ctx); err == nil {
			taken = append(taken, connection)
		}
	}
	for _, connection := range taken {
		connection.Release()
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// row is one of a page.
type row struct {
	Seq     int64
	ID      [16]byte
	Sender  string
	Payload []byte
	At      time.Time
}

func readPage(ctx context.Context, pool *pgxpool.Pool) error {
	rows, err := pool.Query(ctx, selectPage, timeline(system.AnyTimeline()), system.AnyPage(), system.Page)
	if err != nil {
		return err
	}
	got := 0
	for rows.Next() {
		if _, err := pgx.RowToStructByPos[row](rows); err != nil {
			rows.Close()
			return err
		}
		got++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if got != system.Page {
		return fmt.Errorf("a page has %d messages", got)
	}
	return nil
}
