package natsbroker

import (
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

func TestSubjects(t *testing.T) {
	n := mustNaming(t, "crossroom")
	s, c := broker.SocketIO, broker.Native
	for _, row := range []struct {
		ch      broker.Channel
		subject string
	}{
		{s.Broadcast("/"), "crossroom.socketio.cast./.all"},
		{s.Room("/", "room1"), "crossroom.socketio.cast./.room.room1"},
		{s.Room("/", ""), "crossroom.socketio.cast./.room.%"},
		{s.Room("/", "all"), "crossroom.socketio.cast./.room.all"},
		{s.Requests("/chat"), "crossroom.socketio.request./chat"},
		{s.Responses("/chat"), "crossroom.socketio.response./chat"},
		{s.NodeResponses("/chat", "x1Y_-z"), "crossroom.socketio.response./chat.x1Y_-z"},
		{c.Broadcast(""), "crossroom.native.cast.%.all"},
		{c.Room("a.b", "*"), "crossroom.native.cast.a%2Eb.room.%2A"},
		{c.Room(">", "50 %\t\x7f"), "crossroom.native.cast.%3E.room.50%20%25%09%7F"},
		{c.Room("/", "großes Café"), "crossroom.native.cast./.room.großes%20Café"},
		{broker.Control(), "crossroom.native.control"},
		{broker.NodeControl("a.b"), "crossroom.native.control.a%2Eb"},
	} {
		assert.Equal(t, row.subject, n.subject(row.ch), "the subject of %v", row.ch)
		got, long, ok := n.parse(row.subject)
		assert.True(t, ok, "%q is not parsed", row.subject)
		assert.False(t, long, "%q is parsed as a long name", row.subject)
		assert.Equal(t, row.ch, got, row.subject)
	}
	assert.Equal(t, "crossroom.native.cast./a%20b.>", n.subscription(c.EveryRoom("/a b")), "the subject of every room")
}

func TestLongNames(t *testing.T) {
	n := mustNaming(t, strings.Repeat("p", maxPrefix))
	dots, longest := strings.Repeat(".", 400), strings.Repeat("ü", broker.MaxNameLen/2)
	seen := map[string]broker.Channel{}
	for _, ns := range []string{dots, dots + ".", longest, strings.Repeat("x", maxToken), strings.Repeat("x", maxToken+1)} {
		for _, room := range []string{"", dots, dots + "x", longest, longest[2:]} {
			ch := broker.Native.Room(ns, room)
			subject := n.subject(ch)
			// "PUB ", the subject, the size, and some reserve.
			assert.LessOrEqual(t, len(subject), 2560, "the length of a subject")
			other, twice := seen[subject]
			assert.False(t, twice, "two channels of one subject: %.80v and %.80v", other, ch)
			seen[subject] = ch
			_, long, ok := n.parse(subject)
			assert.True(t, ok, "%.80v: parsed as hashed", ch)
			assert.Equal(t, hashed(ch), long, "%.80v: parsed as hashed", ch)
		}
	}
}

func TestParseRefusesOtherSubjects(t *testing.T) {
	n := mustNaming(t, "a.b")
	for _, subject := range []string{
		"", "a.b", "a.b.native", "a.b.native.", "a.c.native.control", "a.b.socketio.control", "a.b.native.control.x.y", "a.b.native.control.%", "a.b.socketio.control.x",
		"a.b.native.cast", "a.b.native.cast.", "a.b.native.cast./", "a.b.native.cast./.other", "a.b.native.cast./.room",
		"a.b.native.cast./.room.", "a.b.native.cast./.room.x.y", "a.b.native.cast./.all.x", "a.b.native.cast..all",
		"a.b.native.request./.x", "a.b.native.response./.x.y", "a.b.native.other./", "a.b.mark.x",
		// Tokens that escaping does not make.
		"a.b.native.request.%2e", "a.b.native.request.%41", "a.b.native.request.%2", "a.b.native.request.%%", "a.b.native.request.x%",
		"a.b.native.request.*", "a.b.native.request.%hXYZ", "a.b.native.request." + strings.Repeat("x", maxToken+1),
	} {
		ch, _, ok := n.parse(subject)
		assert.False(t, ok, "%q is parsed as %v", subject, ch)
	}
}

func TestPrefixes(t *testing.T) {
	for _, prefix := range []string{"", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a.>", "$SYS", "a\n", "a.cast", "a.request.b", "a.b.mark", "50%", "\xff", strings.Repeat("x", 256)} {
		var refused *PrefixError
		_, err := newNaming(prefix)
		if assert.ErrorAs(t, err, &refused, "prefix %q", prefix) {
			assert.NotEmpty(t, refused.Reason, "prefix %q", prefix)
		}
	}
	for _, prefix := range []string{"a", "shop.eu", "größe", "_x", "a.$b", "control", "native", "a.socketio.b"} {
		mustNaming(t, prefix)
	}
}

// TestPrefixesApart: no subject of one prefix is a subject of another, or is selected by its wildcards.
func TestPrefixesApart(t *testing.T) {
	third := broker.NewProtocol("third")
	var all []*naming
	for _, prefix := range []string{"a", "a.native", "a.third", "a.third.native", "a.x.y", "native", "third.native", "cast", "mark"} {
		all = append(all, mustNaming(t, prefix))
	}
	channels := []broker.Channel{broker.Control(), broker.NodeControl("cast"), broker.NodeControl("native")}
	for _, p := range []broker.Protocol{broker.Native, broker.SocketIO, third} {
		for _, name := range []string{"cast", "native", "all", "room", "control", "third"} {
			channels = append(channels, p.Broadcast(name), p.Room(name, name), p.Requests(name), p.Responses(name), p.NodeResponses(name, name))
		}
	}
	of := map[string]string{}
	for _, n := range all {
		for _, subject := range append([]string{n.mark("cast"), n.mark("native")}, subjects(n, channels)...) {
			other, twice := of[subject]
			assert.False(t, twice, "%q is a subject of the prefixes %q and %q", subject, other, n.prefix)
			of[subject] = n.prefix
		}
	}
	for _, n := range all {
		for _, ch := range channels {
			if ch.Kind() != broker.KindBroadcast {
				continue
			}
			wild := strings.TrimSuffix(n.subscription(ch.Protocol().EveryRoom(ch.Namespace())), ">")
			for subject, prefix := range of {
				if prefix != n.prefix && strings.HasPrefix(subject, wild) {
					t.Errorf("%q> selects %q of prefix %q", wild, subject, prefix)
				}
			}
		}
	}
	for _, word := range []string{wordCast, wordRequest, wordResponse, wordControl, wordMark} {
		var refused *broker.ProtocolError
		assert.ErrorAs(t, all[0].check(broker.NewProtocol(word).Room("/", "r")), &refused, "protocol %s", word)
	}
}

func subjects(n *naming, channels []broker.Channel) (list []string) {
	for _, ch := range channels {
		list = append(list, n.subject(ch))
	}
	return list
}

// FuzzNames checks that different channels have different subjects, which are valid,
// are parsed to their channels, and match no other namespace's wildcard.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "/", "a.b", "*", ">", "%", "%h", "%2E", " ", "\x00", "\x7f", "room", "all", "é", "\u2028", strings.Repeat(".", 341), strings.Repeat("y", 1025)} {
		f.Add(s, "/chat", "/chat", s)
		f.Add("/", s, "/", s+".")
	}
	n, err := newNaming("p")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, ns1, name1, ns2, name2 string) {
		var all []broker.Channel
		for _, x := range [][2]string{{ns1, name1}, {ns2, name2}} {
			for _, w := range []broker.Protocol{broker.Native, broker.SocketIO, broker.NewProtocol("third")} {
				all = append(all, w.Broadcast(x[0]), w.Room(x[0], x[1]), w.Requests(x[0]), w.Responses(x[0]), w.NodeResponses(x[0], x[1]))
			}
		}
		for i, a := range all {
			if a.Validate() != nil {
				continue
			}
			subject := n.subject(a)
			for token := range strings.SplitSeq(subject, ".") {
				require.NotEmpty(t, token, "the subject of %v is %q", a, subject)
				require.False(t, strings.ContainsAny(token, " \t\r\n\x00*>"), "the subject of %v is %q", a, subject)
				require.True(t, utf8.ValidString(token), "the subject of %v is %q", a, subject)
			}
			back, long, ok := n.parse(subject)
			if !ok || long != hashed(a) || !long && back != a {
				t.Fatalf("the subject of %v is %q, which is parsed as %v (%v, %v)", a, subject, back, long, ok)
			}
			wild := strings.TrimSuffix(n.subscription(a.Protocol().EveryRoom(a.Namespace())), ">")
			for _, b := range all[i+1:] {
				if b.Validate() != nil {
					continue
				}
				other := n.subject(b)
				require.Equal(t, subject == other, a == b, "the subjects of %v and %v are %q and %q", a, b, subject, other)
				require.Equal(t, a.Protocol().EveryRoom(a.Namespace()).Matches(b), strings.HasPrefix(other, wild), "the wildcard of %v and %q", a, other)
			}
		}
	})
}
