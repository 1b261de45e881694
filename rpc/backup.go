package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"tidemark"
	"tidemark/rpc/tidemarkv1"
)

// backupChunk is large enough that its overhead does not count, and small enough
// for a client with any limit on what it receives.
const backupChunk = 256 << 10

// Backup implements tidemarkv1.ClusterServiceServer. One runs at a time on a node,
// because the copy that it reads from keeps disk space from being given back.
func (s *Server) Backup(req *tidemarkv1.BackupRequest, stream grpc.ServerStreamingServer[tidemarkv1.BackupResponse]) (err error) {
	if err := refuseUnknownFields(req); err != nil {
		return err
	}
	if s.OpenSnapshot == nil {
		return errors.New("rpc: Options.OpenSnapshot is needed for a backup")
	}
	if !s.backup.TryLock() {
		return fmt.Errorf("%w: a backup is running already", tidemark.ErrOverloaded)
	}
	defer s.backup.Unlock()
	snapshot, err := s.OpenSnapshot()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	for {
		chunk := make([]byte, backupChunk)
		n, err := io.ReadFull(snapshot, chunk)
		if n > 0 {
			if err := stream.Send(&tidemarkv1.BackupResponse{Chunk: chunk[:n]}); err != nil {
				return errors.Join(context.Canceled, err)
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}
