// Package sim runs a cluster of the server's own floors in one process and in
// virtual time: raftnode with hashicorp/raft and its Raft port, fsm, and pebblestore
// on a file system that forgets what was not synced. Clients use it, nemeses injure
// it, and the checkers of real runs judge the history. An hour of faults takes some
// 20 seconds of processor time.
//
// It is the one part of jepsen that imports server packages. It does not run package
// rpc or the SDK: client.go does between caller and floors what they do.
//
// # What is real and what is not
//
//   - The network is ours, below raftnode's Listener and DialContext. A connection
//     behaves as TCP does: bytes in order, loss as delay, resets in both directions
//     at once, silence when the power is lost, an end after 30 s in which nothing gets
//     through. On top of that Raft's calls can be lost, doubled and late as a whole
//     (calls.go): a copy travels on a connection of its own, up to six seconds later, and
//     is overtaken by what its sender did meanwhile. Result.Traffic counts all that.
//   - Heartbeats are handled as the server handles them, by Raft's main loop. That the
//     library handles them beside it is shown by the trap's own simulation, over
//     single messages (bare_test.go).
//   - The store's files are Pebble's MemFS. After SIGKILL they hold all that was
//     written; after a loss of power what was synced, and none, some or most of the
//     rest, block by block.
//   - The Raft log is logDisk, in memory, by raftnode's Config.OpenLogs. It keeps the
//     rules of package logstore, which is not under test here: files cannot lose what
//     was not synced, and a write must take virtual time. In the simulations of traps
//     3 and 5 package logstore itself runs, on real files.
//   - The files NODE, LOCK and PEERS are real ones, and survive everything.
//   - The numbers are those of DefaultConfig, except for what would only cost wall
//     time (CommitTimeout, ProbeInterval) and what makes snapshots frequent. Clients
//     pause for up to 400 ms between calls, so that time goes into faults.
//
// # How a process ends
//
// A goroutine cannot be killed. So at its end a process first loses the network, then
// what it left on its disks is cloned for the next process, and only then is it
// shut down, where nobody sees what it does. Whatever somebody has heard of it was
// on the disks before. A client that was waiting gets an unknown outcome.
//
// # Bubbles
//
// Everything runs in a bubble of testing/synctest, whose clock moves when all
// goroutines wait for channels, timers or condition variables. One that waits for
// a mutex whose holder sleeps, or that spins, makes it stand still: the run hangs,
// and -timeout tells where. A seed decides what is done to the cluster and when;
// how goroutines interleave is up to the scheduler, so a seed that failed once is
// to be run several times.
//
// A goroutine that waits for ever keeps a bubble from ending, and the test panics:
// "blocked goroutines remain". In a simulation of the server that is a finding, but for
// one: a goroutine of raftnode that waits, with nobody behind it, for a future that the
// library never answers (trap 9). The library's trap 8 is one too, so its trials expect it.
//
// # Traps
//
// Traps 1, 2, 3, 5, 6, 8, 9 and 12 of the library (raftnode/DESIGN.md) have a test each,
// which runs trials of the bare library and of ours under one schedule. The bare library
// must fall into the trap in some trials, in all of 5 and 6, and ours in none.
//
// # Running
//
//	make sim                                                             # all of it, with a summary
//	go test ./jepsen/sim -run TestSimulation -sim.seeds 300 -sim.minutes 1 -timeout 1h
//	go test ./jepsen/sim -run TestSimulation -sim.seed 17 -sim.out DIR   # one seed, with its history
//	go test ./jepsen/sim -run TestTrap -sim.trials 1000 -v               # the library's traps, red and green
//	go test ./jepsen/sim -run TestPlantedBugs -sim.bugs -v               # what the simulation finds
package sim
