package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpPort is the port for operators: it is up for as long as the process, also
// while the node waits for room on its disk.
type httpPort struct {
	server   *http.Server
	listener net.Listener
	done     chan error
}

// openHTTP listens, and serves in the background. Ready says why the node cannot
// serve, or nil; metrics are those of the moment.
func openHTTP(address string, ready func() error, metrics func() prometheus.Gatherer, logger *slog.Logger) (*httpPort, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--http-listen %s: %w", address, err)
	}
	listener = limitConnections(listener, shareOf(openFiles(), 8, maxHTTPConnections), logger)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		options := promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}
		promhttp.HandlerFor(metrics(), options).ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	port := &httpPort{
		// Profiles take as long as they are asked to, so there is no limit on writing.
		server:   &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute},
		listener: listener,
		done:     make(chan error, 1),
	}
	go func() {
		err := port.server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		port.done <- err
	}()
	return port, nil
}

// close ends what is under way when ctx ends.
func (p *httpPort) close(ctx context.Context) error {
	if err := p.server.Shutdown(ctx); err != nil {
		return errors.Join(err, p.server.Close())
	}
	return <-p.done
}
