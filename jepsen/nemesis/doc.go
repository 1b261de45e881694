// Package nemesis is what goes wrong, and when. A Nemesis knows how to do one harm
// and how to undo it; Run lets several of them work on a cluster at once, in an
// order and at times that follow from a seed, and notes each as a history.Fault.
//
// # Lanes
//
// Each nemesis belongs to a lane: processes (and their disks, and who is a member),
// links, leaders, or clocks. Those of one lane take turns, because they would undo each other;
// those of different lanes overlap. So a mix of kill and partition has nodes that
// are killed while others are cut off.
//
// # What is the same for the same seed
//
// Which nemesis comes when, for how long, and whom it chooses among the nodes. Who
// leads at that moment, and what clients do meanwhile, is up to the machine.
package nemesis
