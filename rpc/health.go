package rpc

import (
	"time"

	"google.golang.org/grpc/health/grpc_health_v1"
)

// healthInterval is how soon health follows a change that no channel tells of, such
// as having caught up.
const healthInterval = 100 * time.Millisecond

// watchHealth keeps the health of every service, and of "", at what the node says.
// Those who watch are told of each change. It returns when the server stops, and
// leaves NOT_SERVING behind.
func (s *Server) watchHealth() {
	defer close(s.healthDone)
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		changed := s.Node.LeaderChanged()
		s.setHealth(s.Node.Ready())
		select {
		case <-changed:
		case <-tick.C:
		case <-s.stopping:
			s.health.Shutdown()
			return
		}
	}
}

// setHealth is called by watchHealth, and once before it starts.
func (s *Server) setHealth(ready error) {
	serving := grpc_health_v1.HealthCheckResponse_SERVING
	if ready != nil {
		serving = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", serving)
	for _, service := range services {
		s.health.SetServingStatus(service.ServiceName, serving)
	}
}
