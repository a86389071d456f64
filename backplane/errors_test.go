package backplane_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/broker"
)

// Errors that wrap each other repeat nothing.
func TestErrorTexts(t *testing.T) {
	partial := &backplane.PartialError{
		Op: "join", Err: backplane.ErrPeerLost,
		Coverage: backplane.Coverage{Answered: []string{"a"}, Missing: []observe.Missing{{Node: "b", Count: 1}}},
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{partial, "backplane: join: 1 nodes responded, missing b: node is lost"},
		{&backplane.OpError{Op: "join", Name: "c0", Err: partial}, `backplane: join "c0": 1 nodes responded, missing b: node is lost`},
		{&backplane.OpError{Op: "join", Name: "c0", Err: backplane.ErrClosed}, `backplane: join "c0": closed`},
		{&backplane.OpError{Op: "add", Name: "c0"}, `backplane: add "c0": <nil>`},
		{&backplane.PartialError{Op: "rooms", Err: &backplane.OpError{Op: "count", Namespace: "/", Err: errors.New("NOPERM")}}, `backplane: rooms: 0 nodes responded: count "/": NOPERM`},
		{&backplane.OpError{Op: "open", Namespace: "/", Err: backplane.ErrNamespaceExists}, `backplane: open "/": namespace exists on this node`},
	} {
		assert.Equal(t, c.want, c.err.Error())
	}
}

// The missing nodes can be encoded as JSON, with the reason.
func TestCoverageAsJSON(t *testing.T) {
	got, err := json.Marshal(backplane.Coverage{
		Foreign: 1, Missing: []observe.Missing{{Node: "b", Count: 1, Reason: backplane.ErrPeerLost}, {Count: 2}},
		Uncounted: &broker.InexactError{Err: errors.New("NOPERM")},
	})
	const want = `{"Answered":null,"Foreign":1,"Missing":[{"Node":"b","Count":1,"Reason":"node is lost"},{"Node":"","Count":2,"Reason":""}],"Unconfirmed":0,"Uncounted":"broker: not every subscriber could be counted: NOPERM"}`
	require.NoError(t, err)
	assert.Equal(t, want, string(got))
	got, err = json.Marshal(backplane.LinkCoverage{Prefix: "old", Coverage: backplane.Coverage{Foreign: 1}, Err: backplane.ErrClosed})
	const part = `{"Prefix":"old","Answered":null,"Foreign":1,"Missing":null,"Unconfirmed":0,"Uncounted":null,"Err":"backplane: closed"}`
	require.NoError(t, err)
	assert.Equal(t, part, string(got))
}
