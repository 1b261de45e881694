package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tidemark"
)

// maxRequestBytes bounds one request as it is received: the largest batch, and for
// each of its messages the names and the encoding that MaxBatchBytes does not count.
const maxRequestBytes = tidemark.MaxBatchBytes + tidemark.MaxBatchMessages*(tidemark.MaxTimelineIDBytes+256) + 1<<20

// register adds a service whose unary methods answer a request that cannot be
// decoded with an InvalidError, like any other bad input. The generated code would
// answer it with INTERNAL or RESOURCE_EXHAUSTED, past all interceptors.
func (s *Server) register(service grpc.ServiceDesc) {
	service.Methods = slices.Clone(service.Methods)
	for i := range service.Methods {
		method := &service.Methods[i]
		name, handle := method.MethodName, method.Handler
		method.Handler = func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			undecodable := false
			reply, err := handle(srv, ctx, func(req any) error {
				err := decode(req)
				undecodable = err != nil
				return err
			}, interceptor)
			if undecodable {
				counters := s.metrics.methods["/"+service.ServiceName+"/"+name]
				err = s.tell(name, receiveError(ctx, err))
				s.metrics.done(counters, status.Code(err), 0)
			}
			return reply, err
		}
	}
	s.grpc.RegisterService(&service, s)
}

// receiveError explains why a request could not be received.
func receiveError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case status.Code(err) == codes.ResourceExhausted:
		return tidemark.Invalid("request", "is larger than the limit of %d bytes", maxRequestBytes)
	case status.Code(err) == codes.Internal:
		return tidemark.Invalid("request", "cannot be decoded; is it of this API, and all text UTF-8?")
	default:
		return err
	}
}
