package raftnode

import (
	"context"
	"time"
)

// Levels says which feature levels there are. A level stands for commands that older
// versions do not understand: they would stop at them. So a cluster is raised to a level
// only when each of its members has said that it understands it, and what the level adds
// may be proposed only when the state machine has it. It never goes back: the level is in
// the log.
type Levels struct {
	// Supported is the highest level that this program understands.
	Supported uint32
	// InForce is the level of the state machine.
	InForce func() uint32
	// Raise is the encoded command that raises the level.
	Raise func(level uint32) []byte
}

// firstLevel is that of members that do not say which level they support.
const firstLevel = 1

// raiseLevelEvery is how often a leader asks the members that did not answer, or run an
// older version.
const raiseLevelEvery = time.Second

// raiseLevels has the cluster raised to what all members support, until that is what
// this program supports.
func (n *Node) raiseLevels() {
	levels := &n.cfg.Levels
	if levels.InForce == nil {
		return
	}
	for levels.InForce() < levels.Supported {
		changed := n.LeaderChanged()
		if n.IsLeader() {
			n.raiseLevel()
		}
		select {
		case <-changed:
		case <-time.After(raiseLevelEvery):
		case <-n.ctx.Done():
			return
		}
	}
}

// raiseLevel holds changes of members up, so that those that it asks are those that there
// are when the level is raised.
func (n *Node) raiseLevel() {
	n.changing.Lock()
	defer n.changing.Unlock()
	level := n.commonLevel()
	if level <= n.cfg.Levels.InForce() {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.PeerTimeout)
	defer cancel()
	if _, err := n.Propose(ctx, n.cfg.Levels.Raise(level)); err != nil {
		n.logger.Warn("cannot raise the feature level; trying again", "level", level, "error", err)
		return
	}
	n.logger.Info("raised the feature level: all members understand it", "level", level)
}

// commonLevel is what all members support; the level in force if one does not answer.
func (n *Node) commonLevel() uint32 {
	c := n.members.configuration()
	infos := n.survey(n.ctx, c)
	level := n.cfg.Levels.Supported
	for _, server := range c.Servers {
		if string(server.ID) == n.cfg.NodeID {
			continue
		}
		info, answered := infos[string(server.ID)]
		if !answered {
			return n.cfg.Levels.InForce()
		}
		level = min(level, max(info.Level, firstLevel))
	}
	return level
}

// understands says whether a member with the level may vote here.
func (n *Node) understands(level uint32) bool {
	return n.cfg.Levels.InForce == nil || max(level, firstLevel) >= n.cfg.Levels.InForce()
}
