package natsbroker

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/crossroom/crossroom/broker"
)

// DefaultPrefix begins all subjects unless Options.Prefix says otherwise.
const DefaultPrefix = "crossroom"

const (
	// maxPrefix and maxToken keep every subject below 2,560 bytes: a server takes
	// control lines of up to 4,096 by default.
	maxPrefix = 255
	maxToken  = 1024

	// emptyToken and hashMark are nothing that escaping makes: it puts two
	// hexadecimal digits after each '%'.
	emptyToken = "%"
	hashMark   = "%h"
)

// The tokens after the prefix. A prefix that contained one of the first two could
// put its subjects among another's.
const (
	wordNative   = "native"
	wordSocketIO = "socketio"

	wordCast     = "cast"
	wordAll      = "all"
	wordRoom     = "room"
	wordRequest  = "request"
	wordResponse = "response"
	wordControl  = "control"
	wordMark     = "mark"
)

// naming turns channels into subjects and back, for one prefix. It is immutable.
type naming struct {
	prefix string
	heads  [2]string // by wire, with the dot after it
}

func newNaming(prefix string) (*naming, error) {
	refuse := func(reason string) (*naming, error) { return nil, &PrefixError{Prefix: prefix, Reason: reason} }
	if len(prefix) > maxPrefix {
		return refuse("longer than " + strconv.Itoa(maxPrefix) + " bytes")
	}
	if !utf8.ValidString(prefix) {
		return refuse("not valid UTF-8")
	}
	for i, token := range strings.Split(prefix, ".") {
		switch {
		case token == "":
			return refuse("a part between dots is empty")
		case token == wordNative || token == wordSocketIO:
			return refuse(strconv.Quote(token) + " is what follows a prefix")
		case i == 0 && token[0] == '$':
			return refuse("subjects that begin with '$' belong to the server")
		}
		for j := range len(token) {
			if mustEscape(token[j]) {
				return refuse("contains " + strconv.QuoteRune(rune(token[j])) + ", which a subject cannot have")
			}
		}
	}
	return &naming{prefix: prefix, heads: [2]string{
		broker.Native:   prefix + "." + wordNative + ".",
		broker.SocketIO: prefix + "." + wordSocketIO + ".",
	}}, nil
}

// mustEscape reports whether a byte means something in a subject or in a line of
// the protocol, or begins an escape. Bytes of UTF-8 beyond ASCII stay as they are.
func mustEscape(c byte) bool {
	switch c {
	case '.', '*', '>', '%', 0x7f:
		return true
	}
	return c <= ' '
}

// appendToken appends a name as one token of a subject. Different names make
// different tokens: escaping is one-to-one, and so is SHA-256 for all that is known;
// whoever receives a message compares the names themselves (see frame).
func appendToken(dst []byte, name string) []byte {
	if name == "" {
		return append(dst, emptyToken...)
	}
	size := tokenSize(name)
	switch {
	case size > maxToken:
		sum := sha256.Sum256([]byte(name))
		return hex.AppendEncode(append(dst, hashMark...), sum[:])
	case size == len(name):
		return append(dst, name...)
	}
	const digits = "0123456789ABCDEF"
	for i := range len(name) {
		if c := name[i]; mustEscape(c) {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// tokenSize is the length of a name that is not empty when escaped; maxToken+1 if
// that is too long, and the name goes as a hash.
func tokenSize(name string) int {
	if len(name) > maxToken {
		return maxToken + 1
	}
	size := len(name)
	for i := range len(name) {
		if mustEscape(name[i]) {
			size += 2
		}
	}
	return min(size, maxToken+1)
}

// hashed reports whether one of the channel's names goes as a hash.
func hashed(ch broker.Channel) bool {
	return tokenSize(ch.Namespace()) > maxToken || tokenSize(ch.Name()) > maxToken
}

// appendSubject appends a channel's subject. The channel is valid.
func (n *naming) appendSubject(dst []byte, ch broker.Channel) []byte {
	dst = append(dst, n.heads[ch.Wire()]...)
	join := func(word, name string) {
		dst = append(append(dst, word...), '.')
		dst = appendToken(dst, name)
	}
	switch ch.Kind() {
	case broker.KindBroadcast:
		join(wordCast, ch.Namespace())
		dst = append(dst, "."+wordAll...)
	case broker.KindRoom:
		join(wordCast, ch.Namespace())
		dst = append(dst, '.')
		join(wordRoom, ch.Name())
	case broker.KindRequests:
		join(wordRequest, ch.Namespace())
	case broker.KindResponses:
		join(wordResponse, ch.Namespace())
	case broker.KindNodeResponses:
		join(wordResponse, ch.Namespace())
		dst = append(dst, '.')
		dst = appendToken(dst, ch.Name())
	case broker.KindControl:
		dst = append(dst, wordControl...)
		if ch.Name() != "" {
			dst = append(dst, '.')
			dst = appendToken(dst, ch.Name())
		}
	}
	return dst
}

func (n *naming) subject(ch broker.Channel) string { return string(n.appendSubject(nil, ch)) }

// subscription returns the subject to subscribe to for a filter, with a wildcard at
// its end for EveryRoom.
func (n *naming) subscription(f broker.Filter) string {
	s := n.appendSubject(nil, f.Channel())
	if f.IsEveryRoom() {
		s = append(s[:len(s)-len(wordAll)], '>')
	}
	return string(s)
}

// mark is the subject on which a broker sees how far the servers have heard of its
// subscriptions.
func (n *naming) mark(id string) string { return n.prefix + "." + wordMark + "." + id }

// parse turns a subject back into its channel, if names are written out in it. If
// one is a hash it reports long instead: the names are in the message.
func (n *naming) parse(subject string) (ch broker.Channel, long, ok bool) {
	w := broker.Native
	rest, found := strings.CutPrefix(subject, n.heads[w])
	if !found {
		w = broker.SocketIO
		if rest, found = strings.CutPrefix(subject, n.heads[w]); !found {
			return ch, false, false
		}
	}
	kind, rest, more := strings.Cut(rest, ".")
	if !more {
		return broker.Control(), false, kind == wordControl && w == broker.Native
	}
	token, rest, more := strings.Cut(rest, ".")
	ns, long, ok := readToken(token)
	if !ok {
		return ch, false, false
	}
	switch kind {
	case wordControl:
		return broker.NodeControl(ns), long, !more && w == broker.Native && (ns != "" || long)
	case wordCast:
		if rest == wordAll {
			return w.Broadcast(ns), long, true
		}
		word, token, _ := strings.Cut(rest, ".")
		room, longRoom, ok := readToken(token)
		return w.Room(ns, room), long || longRoom, ok && word == wordRoom
	case wordRequest:
		return w.Requests(ns), long, !more
	case wordResponse:
		if !more {
			return w.Responses(ns), long, true
		}
		id, longID, ok := readToken(rest)
		return w.NodeResponses(ns, id), long || longID, ok
	}
	return ch, false, false
}

// readToken undoes appendToken, and takes nothing that it would not have made.
func readToken(token string) (name string, long, ok bool) {
	switch {
	case token == "":
		return "", false, false
	case token == emptyToken:
		return "", false, true
	case strings.HasPrefix(token, hashMark):
		return "", true, len(token) == len(hashMark)+2*sha256.Size
	case len(token) > maxToken:
		return "", false, false
	case !strings.ContainsAny(token, "%.*>"):
		name = token
	default:
		b := make([]byte, 0, len(token))
		for i := 0; i < len(token); i++ {
			c := token[i]
			if c == '%' {
				if i+2 >= len(token) || !isUpperHex(token[i+1]) || !isUpperHex(token[i+2]) {
					return "", false, false
				}
				v, _ := strconv.ParseUint(token[i+1:i+3], 16, 8)
				c = byte(v)
				i += 2
				if !mustEscape(c) {
					return "", false, false
				}
			} else if mustEscape(c) {
				return "", false, false
			}
			b = append(b, c)
		}
		return string(b), false, true
	}
	for i := range len(name) {
		if mustEscape(name[i]) {
			return "", false, false
		}
	}
	return name, false, true
}

func isUpperHex(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }
