// Package run is one run, from forming a cluster to judging what it did:
//
//  1. form a cluster, and let clients use it through the SDK
//  2. let nemeses harm it
//  3. heal everything, and let clients go on for a while
//  4. read everything back from every node
//  5. stop the nodes, whose Raft logs are read whenever they do not run
//  6. judge the history, and write it down with a report
//
// Nothing outlives a run but its folder, also when it is interrupted: the nodes die
// with the process that started them, and the host gives back the network. The mounts of
// a harness that was killed, or panicked, stay until the next run takes them away.
//
// # The folder
//
//	report.html        what a person reads
//	result.json        the verdict, for programs
//	history.jsonl.gz   see package history
//	harness.log        what the harness itself had to say
//	nodes/n1/…         what each start of a node wrote; its data too, if the run failed
//
// A run takes the folder for itself, and what an earlier one left in nodes/ away.
package run
