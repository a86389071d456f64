package servers

import (
	"testing"

	"github.com/crossroom/crossroom/conformance/tcpproxy"
)

// Proxy is the breakable link of package tcpproxy.
type Proxy = tcpproxy.Proxy

// StartProxy is tcpproxy.Start.
func StartProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	return tcpproxy.Start(tb, target)
}
