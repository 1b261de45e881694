// Package bench measures a cluster through the SDK, as any client could, and reads what
// it cost the nodes from their metrics. It prints no figure when something failed: a rate
// of errors is no rate.
package bench
