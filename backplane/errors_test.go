package backplane_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
)

// Errors that wrap each other say each thing once.
func TestErrorTexts(t *testing.T) {
	partial := &backplane.PartialError{
		Op: "join", Err: backplane.ErrPeerGone,
		Fleet: backplane.Fleet{Answered: []string{"a"}, Missing: []backplane.Missing{{Node: "b", Count: 1}}},
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{partial, "backplane: join: 1 nodes answered, missing b: node is gone"},
		{&backplane.MemberError{Op: "join", ID: "c0", Err: partial}, `backplane: join "c0": 1 nodes answered, missing b: node is gone`},
		{&backplane.MemberError{Op: "join", ID: "c0", Err: backplane.ErrClosed}, `backplane: join "c0": closed`},
		{&backplane.MemberError{Op: "add", ID: "c0"}, `backplane: add "c0": <nil>`},
		{&backplane.PartialError{Op: "rooms", Err: &backplane.CountError{Namespace: "/", Err: errors.New("NOPERM")}}, `backplane: rooms: 0 nodes answered: counting the servers of "/": NOPERM`},
		{&backplane.NamespaceError{Name: "/", Err: backplane.ErrNamespaceExists}, `backplane: namespace "/": namespace exists on this node`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// Who is missing can be shown as JSON, with the reason.
func TestFleetAsJSON(t *testing.T) {
	got, err := json.Marshal(backplane.Fleet{
		Unnamed: 1, Missing: []backplane.Missing{{Node: "b", Count: 1, Reason: backplane.ErrPeerGone}, {Count: 2}},
		Uncounted: &broker.InexactError{Err: errors.New("NOPERM")},
	})
	const want = `{"Answered":null,"Unnamed":1,"Missing":[{"Node":"b","Count":1,"Reason":"node is gone"},{"Node":"","Count":2,"Reason":""}],"Silent":0,"Uncounted":"broker: not every subscriber could be counted: NOPERM"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	got, err = json.Marshal(backplane.LinkFleet{Prefix: "old", Fleet: backplane.Fleet{Unnamed: 1}, Err: backplane.ErrClosed})
	const part = `{"Prefix":"old","Answered":null,"Unnamed":1,"Missing":null,"Silent":0,"Uncounted":null,"Err":"backplane: closed"}`
	if err != nil || string(got) != part {
		t.Errorf("got %s, %v", got, err)
	}
}
