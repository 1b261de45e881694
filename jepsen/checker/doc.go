// Package checker judges a history: it says what must hold for everything that
// clients were told and shown, whatever was done to the nodes, and finds the few
// operations that show that something did not.
//
// # Two opinions
//
// The direct checkers (All) use what is special about timelines: an acknowledgement
// names the place of its message, and places are dense and only grow. So each
// promise can be checked by sorting, in O(n log n), and a run of millions of
// operations is judged whole. They share one index of the history.
//
// Porcupine decides linearizability without knowing any of that, by search. It has
// a model of its own, which shares no code with the direct checkers, and looks at
// each timeline alone, bounded in time and in operations; it says what it did not
// look at.
//
// # What "before" means
//
// A is before B if A.Completed < B.Invoked. An operation with an unknown outcome
// has no end: it may take effect at any time after it was invoked, once, or never.
//
// # Imports
//
// Of the project it imports history alone. It must never import the SDK or a
// workload: what is judged is the record, so that a history file can be judged again
// elsewhere.
package checker
