package raftnode

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"tidemark"
	"tidemark/raftnode/logstore"
)

// A cluster is raised to a feature level when the last of its members supports it and
// answers, and not before; a member that does not support it is no voter.
func TestLevelIsRaisedWhenAllMembersSupportIt(t *testing.T) {
	supported := map[string]*atomic.Uint32{"n1": {}, "n2": {}, "n3": {}, "n4": {}}
	for id, level := range map[string]uint32{"n1": 3, "n2": 3, "n3": 1, "n4": 2} {
		supported[id].Store(level)
	}
	inForce := func(machine *fakeMachine) uint32 {
		level := uint32(1)
		for _, command := range machine.commands() {
			if strings.HasPrefix(command, "level ") {
				level = uint32(command[len("level ")] - '0')
			}
		}
		return level
	}
	c := newCluster(t, logstore.WAL, 3, func(cfg *Config) {
		machine := cfg.Machine.(*fakeMachine)
		cfg.Levels = Levels{
			Supported: supported[cfg.NodeID].Load(), InForce: func() uint32 { return inForce(machine) },
			Raise: func(level uint32) []byte { return []byte("level " + string(rune('0'+level))) },
		}
	})
	raised := func(id string) uint32 { return inForce(c.nodes[id].machine) }
	leader := c.leader()
	if level := leader.commonLevel(); leader.id != "n3" && level != 1 {
		t.Errorf("with a member of level 1 the common level is %d", level)
	}
	c.stop("n3")
	leader = c.leader()
	if level := leader.commonLevel(); level != 1 {
		t.Errorf("with a member that does not answer the common level is %d", level)
	}
	supported["n3"].Store(3)
	c.restart("n3")
	eventually(t, "the level is raised on all nodes", func() bool { return raised("n1") == 3 && raised("n2") == 3 && raised("n3") == 3 })

	joined := c.join("n4")
	leader = c.leader()
	if err := leader.AddMember(testContext(t), "n4", joined.address); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n4 answers", func() bool {
		_, ok := leader.survey(testContext(t), leader.members.configuration())["n4"]
		return ok
	})
	if err := leader.PromoteMember(testContext(t), "n4"); !errors.Is(err, tidemark.ErrMemberNotReady) || !strings.Contains(err.Error(), "feature level 3") {
		t.Errorf("promoting a member of level 2: %v", err)
	}
}
