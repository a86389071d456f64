package redisbroker

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
)

func mustNaming(t testing.TB, prefix string) *naming {
	t.Helper()
	n, err := newNaming(prefix)
	require.NoError(t, err)
	return n
}

func TestNames(t *testing.T) {
	n := mustNaming(t, "socket.io")
	s, c := broker.SocketIO, broker.Native
	for _, row := range []struct {
		ch   broker.Channel
		name string
	}{
		{s.Broadcast("/"), "socket.io#/#"},
		{s.Room("/", "room1"), "socket.io#/#room1#"},
		{s.Room("/", ""), "socket.io#/##"},
		{s.Room("/chat", "a#b"), "socket.io#/chat#a#b#"},
		{s.Room("/chat", "#"), "socket.io#/chat###"},
		{s.Requests("/chat"), "socket.io-request#/chat#"},
		{s.Responses("/chat"), "socket.io-response#/chat#"},
		{s.NodeResponses("/chat", "x1Y_-z"), "socket.io-response#/chat#x1Y_-z#"},
		{c.Broadcast("/"), "crossroom#/#"},
		{c.Room("/", "room1"), "crossroom#/#room1#"},
		{c.Requests("/"), "crossroom-request#/#"},
		{c.Responses("/"), "crossroom-response#/#"},
		{c.NodeResponses("/", "n"), "crossroom-response#/#n#"},
		{broker.Control(), "crossroom-control#"},
		{broker.NodeControl("n~1"), "crossroom-control#n~1#"},
		{c.Broadcast(""), "crossroom##"},
	} {
		got := n.name(row.ch)
		assert.Equal(t, row.name, got, "name of %v", row.ch)
		assert.Equal(t, len(got), n.size(row.ch), "name of %v", row.ch)
		ch, ok := n.parse(row.name)
		assert.True(t, ok, "%q is not parsed", row.name)
		assert.Equal(t, row.ch, ch, row.name)
	}
}

func TestParseRefusesOtherNames(t *testing.T) {
	n := mustNaming(t, "socket.io")
	for _, name := range []string{
		"", "#", "socket.io", "socket.io#", "socket.io#/", "socket.io#/#room", "other#/#", "socket.ioo#/#",
		"socket.io-request#/#x#", "crossroom-control##", "crossroom-control#x", "socket.io-other#/#", "socket.io#/#\xff#",
		"socket.io-request#", "socket.io-response#/#id",
	} {
		ch, ok := n.parse(name)
		assert.False(t, ok, "%q is parsed as %v", name, ch)
	}
}

// TestNamesOfRealPackages compares the names with those that the real packages
// published to.
func TestNamesOfRealPackages(t *testing.T) {
	text, err := os.ReadFile("../../adapter/internal/socketio/testdata/vectors.json")
	require.NoError(t, err)
	var vectors []struct{ Name, Dialect, Role, Channel string }
	require.NoError(t, json.Unmarshal(text, &vectors))
	checked := 0
	for _, v := range vectors {
		if v.Dialect == "sharded" { // other names, and another command
			continue
		}
		prefix, _, _ := strings.Cut(v.Channel, "#")
		prefix = strings.TrimSuffix(strings.TrimSuffix(prefix, "-request"), "-response")
		n := mustNaming(t, prefix)
		ch, ok := n.parse(v.Channel)
		if !ok || ch.Protocol() != broker.SocketIO || n.name(ch) != v.Channel {
			t.Errorf("%s: %q is parsed as %v (%v)", v.Name, v.Channel, ch, ok)
			continue
		}
		kinds := map[string][]broker.Kind{
			"broadcast": {broker.KindBroadcast, broker.KindRoom},
			"request":   {broker.KindRequests},
			"response":  {broker.KindResponses, broker.KindNodeResponses},
		}[v.Role]
		right := false
		for _, k := range kinds {
			right = right || k == ch.Kind()
		}
		assert.True(t, right, "%s: %q, a %s, is parsed as %v", v.Name, v.Channel, v.Role, ch)
		checked++
	}
	require.GreaterOrEqual(t, checked, 150, "vectors checked")
}

func TestPrefixes(t *testing.T) {
	for _, prefix := range []string{"a#b", "#", "a-request", "a-response", "a-control", "a-crossroom", "crossroom", "-request", "a\xff", strings.Repeat("x", 5000)} {
		var refused *PrefixError
		_, err := newNaming(prefix)
		if assert.ErrorAs(t, err, &refused, "prefix %.20q", prefix) {
			assert.Equal(t, prefix, refused.Prefix, "prefix %.20q", prefix)
		}
	}
	for _, prefix := range []string{"socket.io", "a-requests", "request", "*", "a b", "ünï", "crossrooms"} {
		mustNaming(t, prefix)
	}
}

func TestNamespacesThatAreRefused(t *testing.T) {
	n := mustNaming(t, "p")
	for _, ch := range []broker.Channel{
		{}, broker.Native.Broadcast("/a#b"), broker.SocketIO.Room("#", "r"), broker.SocketIO.Requests("/\xff"),
		broker.Native.Room("/", strings.Repeat("x", broker.MaxNameLen+1)),
	} {
		var refused *broker.NameError
		assert.ErrorAs(t, n.check(ch), &refused, "%.40q", ch)
	}
	var unknown *broker.ProtocolError
	err := n.check(broker.NewProtocol("sharded").Room("/", "r"))
	require.ErrorAs(t, err, &unknown)
	assert.ErrorIs(t, err, errors.ErrUnsupported)
}

// TestChannelsOfPrefixesDiffer makes names of all kinds from parts that could be confused, and
// checks that no two channels, of any prefix, have the same name.
func TestChannelsOfPrefixesDiffer(t *testing.T) {
	names := map[string]string{}
	parts := []string{"", "a", "b", "socket.io", "crossroom", "-request", "-response", "-crossroom", "a-request", "/"}
	for _, prefix := range parts {
		n, err := newNaming(prefix)
		if err != nil {
			continue
		}
		for _, w := range []broker.Protocol{broker.Native, broker.SocketIO} {
			var channels []broker.Channel
			for _, ns := range parts {
				channels = append(channels, w.Broadcast(ns), w.Requests(ns), w.Responses(ns))
				for _, room := range append(parts, "#", "a#", "#a", "a#b") {
					channels = append(channels, w.Room(ns, room), w.NodeResponses(ns, room))
				}
			}
			for _, ch := range channels {
				name, who := n.name(ch), prefix+": "+ch.String()
				other, ok := names[name]
				require.False(t, ok, "%q is both %s and %s", name, other, who)
				names[name] = who
			}
		}
	}
}

func TestEscapedPatterns(t *testing.T) {
	n := mustNaming(t, "p[1]")
	f := broker.SocketIO.EveryRoom(`/a*b?c\d]e^f`)
	pattern, isPattern := n.subscription(f)
	want := `p\[1]#/a\*b\?c\\d]e^f#*`
	require.Equal(t, want, pattern)
	require.True(t, isPattern)
	require.Equal(t, `p\[1]-response#/\*#*#`, n.responders(broker.SocketIO, "/*"), "pattern")
}

func FuzzNames(f *testing.F) {
	f.Add("socket.io", "/", "room", uint8(0))
	f.Add("p", "", "", uint8(3))
	f.Add("a-b", "/a[b]*", "#x##", uint8(6))
	f.Fuzz(func(t *testing.T, prefix, ns, name string, kind uint8) {
		n, err := newNaming(prefix)
		if err != nil {
			return
		}
		w := [...]broker.Protocol{broker.Native, broker.SocketIO}[kind&1]
		ch := [...]broker.Channel{
			w.Broadcast(ns), w.Room(ns, name), w.Requests(ns), w.Responses(ns), w.NodeResponses(ns, name), broker.Control(), broker.NodeControl(name),
		}[int(kind>>1)%7]
		if n.check(ch) != nil {
			return
		}
		wire := n.name(ch)
		require.Equal(t, len(wire), n.size(ch), "%v: name", ch)
		require.True(t, utf8.ValidString(wire), "%v: name", ch)
		got, ok := n.parse(wire)
		require.True(t, ok, "%v: %q is not parsed", ch, wire)
		require.Equal(t, ch, got, wire)
		if ch.Kind() == broker.KindControl {
			return
		}
		// The pattern of a namespace matches the names of its rooms, and no other names.
		every, _ := n.subscription(w.EveryRoom(ns))
		in := ch.Kind() == broker.KindRoom || ch.Kind() == broker.KindBroadcast
		require.Equal(t, in, globMatch(every, wire), "pattern %q and %q", every, wire)
	})
}

// FuzzParse checks that a name that is parsed into a channel is the name of that channel.
func FuzzParse(f *testing.F) {
	f.Add("socket.io#/#room#")
	f.Add("socket.io-response#/#a#")
	f.Add("crossroom-control#")
	n := mustNaming(f, "socket.io")
	f.Fuzz(func(t *testing.T, name string) {
		ch, ok := n.parse(name)
		if ok && (n.check(ch) != nil || n.name(ch) != name) {
			t.Fatalf("%q is parsed as %v, whose name is %q", name, ch, n.name(ch))
		}
	})
}

// globMatch matches as Redis does, for patterns without brackets.
func globMatch(pattern, s string) bool {
	for pattern != "" {
		switch c := pattern[0]; {
		case c == '*':
			for i := 0; i <= len(s); i++ {
				if globMatch(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case s == "":
			return false
		case c == '?':
		case c == '\\' && len(pattern) > 1:
			if pattern = pattern[1:]; pattern[0] != s[0] {
				return false
			}
		case c != s[0]:
			return false
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}
