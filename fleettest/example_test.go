package fleettest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/fleettest"
)

// client represents a client's connection.
type client string

func (c client) ID() string            { return string(c) }
func (client) Deliver(*adapter.Packet) {}
func (client) Disconnect(bool)         {}

// Start from this example: a node crashes during a query. What does the query return, when, and does its error name
// the missing node?
func TestNodeDiesInTheMiddleOfMyQuery(t *testing.T) {
	var log strings.Builder
	fleettest.Run(t, nil, func(t *testing.T, f *fleettest.Fleet) {
		ctx := t.Context()
		servers := map[string]*fleettest.Server{}
		rooms := map[string]*adapter.Namespace{}
		for name, id := range map[string]client{"north": "ada", "south": "bob", "east": "eve"} {
			servers[name] = f.Server(name, nil)
			chat, err := servers[name].Of(ctx, "/chat")
			require.NoError(t, err)
			require.NoError(t, chat.Add(ctx, id))
			rooms[name] = chat
		}
		f.Settle()

		ask := func() {
			began := time.Now()
			sockets, err := rooms["north"].All().FetchSockets(ctx)
			fmt.Fprintf(&log, "after %v:", time.Since(began))
			for _, s := range sockets.List {
				fmt.Fprintf(&log, " %s on %s,", s.ID, adapter.NodeName(s.Node))
			}
			var partial *backplane.PartialError
			if errors.As(err, &partial) {
				for _, m := range partial.Coverage.Missing {
					fmt.Fprintf(&log, " missing %s: %v", adapter.NodeName(m.Node), m.Reason)
				}
			} else if err == nil {
				fmt.Fprint(&log, " complete")
			}
			fmt.Fprintln(&log)
		}

		ask()
		servers["east"].Freeze() // it does not receive the request
		f.After(300*time.Millisecond, servers["east"].Kill)
		ask()
		ask()                       // requests do not wait for a lost peer
		time.Sleep(4 * time.Second) // after PeerTimeout the peer is forgotten
		ask()
	})
	t.Log("\n" + log.String())
	const want = `after 0s: ada on north, bob on south, eve on east, complete
after 500ms: ada on north, bob on south, missing east: node is lost
after 0s: ada on north, bob on south, missing east: node is lost
after 0s: ada on north, bob on south, complete
`
	assert.Equal(t, want, log.String())
}
