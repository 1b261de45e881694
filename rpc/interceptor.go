package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"tidemark"
)

// callUnary stands around every unary handler: it admits, bounds in time, catches
// panics, turns errors into statuses and counts.
func (s *Server) callUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	if !isOurs(info.FullMethod) {
		return handler(ctx, req)
	}
	method, start := s.metrics.methods[info.FullMethod], time.Now()
	defer func() {
		if fault := recover(); fault != nil {
			reply, err = nil, s.recovered(method.name, fault)
		}
		err = s.tell(method.name, err)
		s.metrics.done(method, status.Code(err), time.Since(start))
	}()
	size := int64(proto.Size(req.(proto.Message)))
	if err := s.enterCall(size); err != nil {
		return nil, err
	}
	defer s.admission.leaveCall(size)
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Limits.CallTimeout)
		defer cancel()
	}
	return handler(ctx, req)
}

func (s *Server) enterCall(size int64) error {
	if s.isStopping() {
		return tidemark.ErrStopping
	}
	return s.counted(s.admission.enterCall(size))
}

// callStream is callUnary for streams, which have no deadline but their client's.
func (s *Server) callStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	if !isOurs(info.FullMethod) {
		return s.untilStopped(srv, stream, handler)
	}
	method := s.metrics.methods[info.FullMethod]
	defer func() {
		if fault := recover(); fault != nil {
			err = s.recovered(method.name, fault)
		}
		err = s.tell(method.name, err)
		s.metrics.done(method, status.Code(err), 0)
	}()
	if s.isStopping() {
		return tidemark.ErrStopping
	}
	if err := s.counted(s.admission.enterStream()); err != nil {
		return err
	}
	defer s.admission.leaveStream()
	return handler(srv, stream)
}

// untilStopped runs a stream of health or reflection, which have no end of their own
// and would hold up Shutdown. The handler ends when this has returned.
func (s *Server) untilStopped(srv any, stream grpc.ServerStream, handler grpc.StreamHandler) error {
	ended := make(chan error, 1)
	go func() {
		defer func() {
			if fault := recover(); fault != nil {
				ended <- toStatus(s.recovered("other", fault)).Err()
			}
		}()
		ended <- handler(srv, stream)
	}()
	select {
	case err := <-ended:
		return err
	case <-s.draining:
		return toStatus(tidemark.ErrStopping).Err()
	}
}

// counted counts a refusal by admission.
func (s *Server) counted(err error) error {
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		s.metrics.refused.WithLabelValues(refused.limit).Inc()
	}
	return err
}

// recovered turns a panic into an error, counts it and logs it with its stack. The
// node goes on: handlers hold no state that others rely on.
func (s *Server) recovered(method string, fault any) error {
	s.metrics.panics.Inc()
	s.Logger.Error("a handler panicked; this is a fault of the program", "method", method, "panic", fault, "stack", string(debug.Stack()))
	return fmt.Errorf("panic in %s: %v", method, fault)
}

// tell turns an error into what the client is told, and logs what it is not told.
func (s *Server) tell(method string, err error) error {
	if err == nil {
		return nil
	}
	told := toStatus(err)
	switch told.Code() {
	case codes.Internal, codes.DataLoss:
		s.Logger.Error("a call failed because of this node", "method", method, "error", err)
	case codes.Unavailable, codes.FailedPrecondition:
		s.Logger.Debug("a call failed", "method", method, "error", err)
	}
	return told.Err()
}

// isStopping says that Shutdown was called.
func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
