// Package report renders a run as one HTML page that needs nothing else: styles and
// charts are in it. What matters most comes first: the verdict, then what was done,
// then how it went over time, and the operations that show each anomaly.
//
// Charts are SVG, drawn here: lines and steps over time, with the windows of the
// faults shaded behind them.
package report
