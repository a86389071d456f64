package broker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/crossroom/crossroom/broker"
)

func TestProtocols(t *testing.T) {
	one, again := broker.NewProtocol("sharded-2"), broker.NewProtocol(strings.ToLower("SHARDED-2"))
	if one != again || one.Room("/", "r") != again.Room("/", "r") || one == broker.Native || one.Room("/", "r") == broker.Native.Room("/", "r") {
		t.Error("protocols are not equal by their names")
	}
	if one.String() != "sharded-2" || broker.NewProtocol(broker.SocketIO.String()) != broker.SocketIO {
		t.Errorf("%v, %v", one, broker.SocketIO)
	}
	assert.NoError(t, one.Broadcast("/").Validate())
	for _, name := range []string{"", "Native", "socket.io", "a b", "a#", "é", "a_b", strings.Repeat("x", 65)} {
		p := broker.NewProtocol(name)
		var refused *broker.NameError
		if err := p.Broadcast("/").Validate(); p != (broker.Protocol{}) || !errors.As(err, &refused) {
			t.Errorf("%q: %v, %v", name, p, err)
		}
	}
	for _, ch := range []broker.Channel{one.Channel(broker.KindControl, "", ""), one.Channel(broker.KindControl+1, "/", ""), one.Channel(0, "/", "")} {
		var refused *broker.NameError
		assert.ErrorAs(t, ch.Validate(), &refused, "%v", ch)
	}
	for _, ch := range []broker.Channel{
		one.Broadcast("/"), one.Room("/", "r"), one.Requests("/"), one.Responses("/"), one.NodeResponses("/", "n"), broker.Control(), broker.NodeControl("n"),
	} {
		if got := ch.Protocol().Channel(ch.Kind(), ch.Namespace(), ch.Name()); got != ch {
			t.Errorf("%v became %v", ch, got)
		}
	}
	if got := one.Channel(broker.KindRequests, "/", "r"); got != one.Requests("/") {
		t.Error(got)
	}
	for ch, want := range map[broker.Channel]string{
		{}:                              "invalid",
		broker.Protocol{}.Room("/", ""): `invalid room "/" ""`,
		one.Room("/", "r"):              `sharded-2 room "/" "r"`,
		broker.NodeControl("x"):         `native control "x"`,
	} {
		assert.Equal(t, want, ch.String())
	}
}

// Every message makes, compares and looks up channels.
func TestChannelsDoNotAllocate(t *testing.T) {
	by := map[broker.Channel]int{broker.Native.Room("/", "r"): 1}
	ns, room, found := "/", "r", 0
	n := testing.AllocsPerRun(100, func() {
		found += by[broker.Native.Room(ns, room)] + by[broker.SocketIO.Room(ns, room)]
		if !broker.Native.EveryRoom(ns).Matches(broker.Native.Room(ns, room)) || broker.SocketIO.Room(ns, room).Validate() != nil {
			t.Error("no match")
		}
	})
	assert.Zero(t, n)
	assert.Equal(t, 101, found)
}
