// Package outage shows, on real servers and real processes, the effect of a crash or a stall on callers and receivers:
// a node that is stopped (SIGSTOP) or killed during each kind of request, a server that is killed under load and
// started again, and servers of a cluster that are killed. It consists of tests, whose outcomes are logged, and are
// attributes "outcome" for summaries of a run.
//
// The nodes of a fleet, except the one that sends the requests, are processes of their own: the test's binary, started
// again.
package outage
