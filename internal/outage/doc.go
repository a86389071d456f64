// Package outage shows, on real servers and real processes, what callers and
// receivers see when something dies or stands still: a node that is stopped (SIGSTOP)
// or killed during each kind of question, a server that is killed under load and
// started again, and servers of a cluster that are. It consists of tests, whose
// outcomes are logged, and given as attributes "outcome" to whoever sums up a run.
//
// The nodes of a fleet, other than the one that asks or sends, are processes of their
// own: the test's binary, started again.
package outage
