package wire_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// A changed Selection shares no memory that it writes to with the one that it was made from.
func TestSelectionsDoNotShare(t *testing.T) {
	rooms := append(make([]string, 0, 8), "a")
	base := wire.Selection{Rooms: rooms, Except: rooms}
	first, second := base.To("b").Not("x"), base.To("c").Not("y", "z")
	require.Equal(t, []string{"a", "b"}, first.Rooms)
	require.Equal(t, []string{"a", "x"}, first.Except)
	require.Equal(t, []string{"a", "c"}, second.Rooms)
	require.Equal(t, []string{"a", "y", "z"}, second.Except)
	require.Empty(t, rooms[:2][1], "memory of the caller was written to")
}

func TestHeadersAreCloned(t *testing.T) {
	h := wire.Header{"k": "v"}
	h.Clone()["k"] = "w"
	require.Equal(t, "v", h["k"])
	require.Nil(t, wire.Header(nil).Clone())
}

func TestOpNames(t *testing.T) {
	seen := map[string]bool{}
	for op := wire.Op(0); op <= wire.OpBroadcast; op++ {
		require.False(t, seen[op.String()], op.String())
		seen[op.String()] = true
	}
	require.Equal(t, "members", wire.OpMembers.String())
	require.Equal(t, "broadcast", wire.OpBroadcast.String())
	require.Equal(t, "invalid", wire.Op(0).String())
	for _, op := range []wire.Op{wire.OpBroadcast + 1, 255} { // from the wire
		require.Equal(t, "invalid", op.String())
	}
}

func TestCheckName(t *testing.T) {
	for name, reason := range map[string]string{
		"":                                       "",
		"room #1 é":                              "",
		strings.Repeat("x", broker.MaxNameLen):   "",
		strings.Repeat("x", broker.MaxNameLen+1): "longer than 4096 bytes",
		"\xff":                                   "not valid UTF-8",
	} {
		require.Equal(t, reason, wire.CheckName(name), "%.20q", name)
	}
}

// A foreign peer's response without the requested data is not its response, while that of a Crossroom node and an
// acknowledgement need none.
func TestLacks(t *testing.T) {
	members, rooms := []wire.MemberInfo{}, []string{}
	for _, c := range []struct {
		op    wire.Op
		r     wire.Response
		lacks bool
	}{
		{wire.OpMembers, wire.Response{}, true},
		{wire.OpMembers, wire.Response{Rooms: rooms}, true},
		{wire.OpMembers, wire.Response{Members: members}, false},
		{wire.OpMembers, wire.Response{Node: "n"}, false},
		{wire.OpRooms, wire.Response{}, true},
		{wire.OpRooms, wire.Response{Members: members}, true},
		{wire.OpRooms, wire.Response{Rooms: rooms}, false},
		{wire.OpRoomsOf, wire.Response{}, true},
		{wire.OpRoomsOf, wire.Response{Members: members}, false},
		{wire.OpRoomsOf, wire.Response{Rooms: rooms}, false},
		{wire.OpBroadcast, wire.Response{Count: -1}, true},
		{wire.OpBroadcast, wire.Response{Count: -1, Ack: true}, false},
		{wire.OpBroadcast, wire.Response{Count: -1, Node: "n"}, false},
		{wire.OpBroadcast, wire.Response{}, false},
		{wire.OpJoin, wire.Response{Count: -1}, false},
	} {
		require.Equal(t, c.lacks, c.r.Lacks(c.op), "%v: %+v", c.op, c.r)
	}
}
