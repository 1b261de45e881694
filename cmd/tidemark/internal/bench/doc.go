// Package bench measures a cluster through the SDK, as any client could, and reads what
// it cost the nodes from their metrics. It prints no figure when something failed: a rate
// of errors is no rate.
//
// A bench of calls is a Plan with what is its own; Plan makes the calls by package load, and
// samples the nodes around what is measured. What comes of it is a Report, which package
// htmlreport shows. Package imday makes up the mixed load.
package bench
