package natsbroker

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
)

// TestServersThatLeave: a learned server is deleted when it cannot be
// reached and is not announced any more. All others stay.
func TestServersThatLeave(t *testing.T) {
	o := nats.GetDefaultOptions()
	o.Servers, o.NoRandomize = []string{"given:1", "gone:2"}, true
	e, err := newEndpoints(o, nil, time.Second)
	require.NoError(t, err)
	at := func(host string) endpoint {
		t.Helper()
		all := e.all()
		i := slices.IndexFunc(all, func(p endpoint) bool { return p.url.Host == host })
		require.GreaterOrEqual(t, i, 0, "%s is not known", host)
		return all[i]
	}
	want := func(hosts ...string) {
		t.Helper()
		var got []string
		for _, p := range e.all() {
			got = append(got, p.url.Host)
		}
		require.Equal(t, hosts, got, "known")
	}
	e.learnHosts(at("given:1"), []string{"nats://a:3", "nats://b:4"}, false)
	want("given:1", "gone:2", "a:3", "b:4")
	for _, host := range []string{"given:1", "gone:2", "a:3", "b:4"} {
		e.failed(at(host)) // as while all of them are down
	}
	want("given:1", "gone:2", "a:3", "b:4")

	// No server announces b any more. An empty announcement does not change that.
	e.learnHosts(at("a:3"), []string{"nats://given:1", "nats://c:5"}, false)
	e.learnHosts(at("gone:2"), nil, false)
	want("given:1", "gone:2", "a:3", "b:4", "c:5")
	e.last(at("b:4")) // a lost connection alone does not delete it
	want("given:1", "gone:2", "a:3", "c:5", "b:4")
	b := at("b:4")
	e.failed(b)
	want("given:1", "gone:2", "a:3", "c:5")
	e.failed(b) // a second caller reports it too
	want("given:1", "gone:2", "a:3", "c:5")
	e.failed(at("a:3")) // it announced the others and not itself
	e.failed(at("gone:2"))
	want("given:1", "c:5", "a:3", "gone:2")

	e.learnHosts(at("c:5"), []string{"nats://b:4"}, false)
	want("given:1", "c:5", "a:3", "gone:2", "b:4")
}
