package redisbroker

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/crossroom/crossroom/broker"
)

// DefaultPrefix is the prefix of socket.io-redis and @socket.io/redis-adapter. With it, the names of broker.Native
// begin with "crossroom" alone, so that a fleet without Socket.IO has none of its names.
const DefaultPrefix = "socket.io"

// nativePrefix is that of broker.Native with DefaultPrefix. No other prefix may be this one, whose names for Socket.IO
// it would have.
const nativePrefix = "crossroom"

// reservedSuffixes are the texts between prefix and '#' in the heads below. A prefix that ends
// in one of them would have the channel names of a shorter prefix.
var reservedSuffixes = [...]string{"-request", "-response", "-control", "-crossroom"}

// head is the first part of a channel name, up to and including its first '#'. Rooms have the
// head of KindBroadcast, and the channels of one node have those of KindResponses and
// KindControl: only the rest of the name differs.
type head struct {
	text     string
	protocol broker.Protocol
	kind     broker.Kind
}

// naming converts channels to names on the wire and back, for one prefix. It is immutable.
type naming struct {
	prefix  string
	sharded bool // there are no patterns
	heads   [7]head
	texts   [2]texts
}

// texts are the heads of one protocol's channels, by kind. A kind without channels has an empty
// head.
type texts struct {
	protocol broker.Protocol
	heads    [broker.KindControl + 1]string
}

func newNaming(prefix string) (*naming, error) {
	refuse := func(reason string) (*naming, error) { return nil, &PrefixError{Prefix: prefix, Reason: reason} }
	switch {
	case strings.Contains(prefix, "#"):
		return refuse("contains '#', which separates the parts of a channel name")
	case !utf8.ValidString(prefix):
		return refuse("not valid UTF-8")
	case len(prefix) > broker.MaxNameLen:
		return refuse("longer than " + strconv.Itoa(broker.MaxNameLen) + " bytes")
	}
	if prefix == nativePrefix {
		return refuse("reserved for the channels of Crossroom nodes with the default prefix: leave it empty, or choose another one")
	}
	for _, s := range reservedSuffixes {
		if strings.HasSuffix(prefix, s) {
			return refuse("ends in " + strconv.Quote(s) + ", which would make it look like a channel of a shorter prefix")
		}
	}
	native := prefix + "-crossroom"
	if prefix == DefaultPrefix {
		native = nativePrefix
	}
	n := &naming{prefix: prefix, heads: [7]head{
		{prefix + "#", broker.SocketIO, broker.KindBroadcast},
		{native + "#", broker.Native, broker.KindBroadcast},
		{prefix + "-request#", broker.SocketIO, broker.KindRequests},
		{prefix + "-response#", broker.SocketIO, broker.KindResponses},
		{native + "-request#", broker.Native, broker.KindRequests},
		{native + "-response#", broker.Native, broker.KindResponses},
		{native + "-control#", broker.Native, broker.KindControl},
	}}
	for i, p := range [...]broker.Protocol{broker.SocketIO, broker.Native} {
		t := &n.texts[i]
		t.protocol = p
		for _, h := range n.heads {
			if h.protocol == p {
				t.heads[h.kind] = h.text
			}
		}
		t.heads[broker.KindRoom] = t.heads[broker.KindBroadcast]
		t.heads[broker.KindNodeResponses] = t.heads[broker.KindResponses]
	}
	return n, nil
}

// headOf returns the first part of the names of p's channels of kind k. It is empty if p has no
// such channels on Redis.
func (n *naming) headOf(p broker.Protocol, k broker.Kind) string {
	for i := range n.texts {
		if n.texts[i].protocol == p {
			return n.texts[i].heads[k]
		}
	}
	return ""
}

// check refuses a channel without a name: one that is invalid on every broker, or one whose
// namespace contains '#' (P#/a#b# would be both room b of /a and the broadcast channel of /a#b).
func (n *naming) check(ch broker.Channel) error {
	if err := ch.Validate(); err != nil {
		return err
	}
	if strings.IndexByte(ch.Namespace(), '#') >= 0 {
		return &broker.NameError{Channel: ch, Reason: "namespace contains '#', which separates the parts of a channel name on Redis"}
	}
	if n.headOf(ch.Protocol(), ch.Kind()) == "" {
		return &broker.ProtocolError{Protocol: ch.Protocol(), Reason: "it has no channels of kind " + ch.Kind().String() + " on Redis"}
	}
	return nil
}

// checkFilter refuses what cannot be subscribed to.
func (n *naming) checkFilter(f broker.Filter) error {
	err := n.check(f.Channel())
	if err == nil && n.sharded && (f.IsEveryRoom() || f.IsUncounted()) {
		err = &broker.ProtocolError{Protocol: f.Channel().Protocol(), Reason: "sharded pub/sub of Redis has no patterns: " + f.String()}
	}
	return err
}

// size returns the length of a channel's name in bytes.
func (n *naming) size(ch broker.Channel) int {
	size := len(n.headOf(ch.Protocol(), ch.Kind()))
	switch ch.Kind() {
	case broker.KindControl:
		if ch.Name() != "" {
			size += len(ch.Name()) + 1
		}
	case broker.KindRoom, broker.KindNodeResponses:
		size += len(ch.Namespace()) + len(ch.Name()) + 2
	default:
		size += len(ch.Namespace()) + 1
	}
	return size
}

// appendName appends a channel's name. The channel has passed check.
func (n *naming) appendName(dst []byte, ch broker.Channel) []byte {
	dst = append(dst, n.headOf(ch.Protocol(), ch.Kind())...)
	if ch.Kind() == broker.KindControl {
		if ch.Name() != "" {
			dst = append(dst, ch.Name()...)
			dst = append(dst, '#')
		}
		return dst
	}
	dst = append(dst, ch.Namespace()...)
	dst = append(dst, '#')
	if ch.Kind() == broker.KindRoom || ch.Kind() == broker.KindNodeResponses {
		dst = append(dst, ch.Name()...)
		dst = append(dst, '#')
	}
	return dst
}

func (n *naming) name(ch broker.Channel) string {
	return string(n.appendName(make([]byte, 0, n.size(ch)), ch))
}

// subscription returns the name of a filter for SUBSCRIBE or, if pattern is true, for
// PSUBSCRIBE. Names end in '#' and patterns in '*' or ']', so they never coincide. Redis does
// not count patterns. Therefore Uncounted is a pattern that matches one name.
func (n *naming) subscription(f broker.Filter) (name string, pattern bool) {
	name = n.name(f.Channel())
	switch {
	case f.IsEveryRoom():
		return escapeGlob(name) + "*", true
	case f.IsUncounted():
		return escapeGlob(name[:len(name)-1]) + "[#]", true
	}
	return name, false
}

// counting returns a word of PUBSUB.
func (n *naming) counting(word string) string {
	if n.sharded {
		return "SHARD" + word
	}
	return word
}

// responders returns the pattern for PUBSUB CHANNELS that lists the response channels of single
// nodes, but not the shared one.
func (n *naming) responders(p broker.Protocol, ns string) string {
	return escapeGlob(n.name(p.Responses(ns))) + "*#"
}

// escapeGlob makes a Redis pattern that matches exactly s. Outside of brackets only these four
// characters have a meaning in Redis.
func escapeGlob(s string) string {
	if !strings.ContainsAny(s, `*?[\`) {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		switch s[i] {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return string(b)
}

// parse converts a name from the wire to its channel, whose strings are parts of name. It
// returns false for a name that appendName does not make.
func (n *naming) parse(name string) (broker.Channel, bool) {
	i := strings.IndexByte(name, '#')
	if i < 0 {
		return broker.Channel{}, false
	}
	for j := range n.heads {
		h := &n.heads[j]
		if name[:i+1] != h.text {
			continue
		}
		if h.kind == broker.KindControl {
			if i+1 == len(name) {
				return broker.Control(), true
			}
			id, ok := strings.CutSuffix(name[i+1:], "#")
			ch := broker.NodeControl(id)
			return ch, ok && id != "" && ch.Validate() == nil
		}
		ns, rest, ok := strings.Cut(name[i+1:], "#")
		if !ok {
			return broker.Channel{}, false
		}
		var ch broker.Channel
		switch h.kind {
		case broker.KindRequests:
			if rest != "" {
				return broker.Channel{}, false
			}
			ch = h.protocol.Requests(ns)
		case broker.KindBroadcast:
			if rest == "" {
				ch = h.protocol.Broadcast(ns)
			} else if rest, ok = strings.CutSuffix(rest, "#"); ok {
				ch = h.protocol.Room(ns, rest)
			}
		case broker.KindResponses:
			if rest == "" {
				ch = h.protocol.Responses(ns)
			} else if rest, ok = strings.CutSuffix(rest, "#"); ok {
				ch = h.protocol.NodeResponses(ns, rest)
			}
		}
		return ch, ok && ch.Validate() == nil
	}
	return broker.Channel{}, false
}
