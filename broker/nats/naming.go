package natsbroker

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/crossroom/crossroom/broker"
)

// DefaultPrefix is the prefix of all subjects unless Options.Prefix is set.
const DefaultPrefix = "crossroom"

const (
	// maxPrefix and maxToken keep every subject below 2,560 bytes. By default a server accepts
	// control lines of up to 4,096 bytes.
	maxPrefix = 255
	maxToken  = 1024

	// emptyToken and hashMark are tokens that escaping never makes: it puts two hexadecimal
	// digits after each '%'.
	emptyToken = "%"
	hashMark   = "%h"
)

// The words after prefix and protocol, except wordMark, which follows the prefix directly. None of
// them may be a protocol, nor a part of a prefix except the first. Otherwise subjects could be
// those of a shorter prefix.
const (
	wordCast     = "cast"
	wordAll      = "all"
	wordRoom     = "room"
	wordRequest  = "request"
	wordResponse = "response"
	wordControl  = "control"
	wordMark     = "mark"
)

func reserved(token string) bool {
	switch token {
	case wordCast, wordRequest, wordResponse, wordControl, wordMark:
		return true
	}
	return false
}

// naming converts channels to subjects and back, for one prefix. It is immutable.
type naming struct{ prefix string }

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
		case i > 0 && reserved(token):
			return refuse(strconv.Quote(token) + " is reserved for subjects")
		case i == 0 && token[0] == '$':
			return refuse("subjects that begin with '$' belong to the server")
		}
		for j := range len(token) {
			if mustEscape(token[j]) {
				return refuse("contains " + strconv.QuoteRune(rune(token[j])) + ", which is not allowed in a subject")
			}
		}
	}
	return &naming{prefix: prefix}, nil
}

// check refuses a channel that has no subject.
func (n *naming) check(ch broker.Channel) error {
	if err := ch.Validate(); err != nil {
		return err
	}
	if p := ch.Protocol(); reserved(p.String()) {
		return &broker.ProtocolError{Protocol: p, Reason: "its name is reserved for subjects on NATS"}
	}
	return nil
}

// mustEscape reports whether a byte has a meaning in a subject or in a line of the protocol, or
// begins an escape. Bytes of UTF-8 beyond ASCII stay unchanged.
func mustEscape(c byte) bool {
	switch c {
	case '.', '*', '>', '%', 0x7f:
		return true
	}
	return c <= ' '
}

// appendToken appends a name as one token of a subject. Different names have different tokens:
// escaping is one-to-one, and SHA-256 has no known collisions. In addition the receiver compares
// the names themselves (see frame).
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

// tokenSize returns the length of a non-empty name after escaping. It returns maxToken+1 if that
// is too long, so that the token is a hash.
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

// hashed reports whether the channel's subject has a hash in place of a name.
func hashed(ch broker.Channel) bool {
	return tokenSize(ch.Namespace()) > maxToken || tokenSize(ch.Name()) > maxToken
}

// appendSubject appends a channel's subject. The channel has passed check. A protocol's name needs
// no escaping.
func (n *naming) appendSubject(dst []byte, ch broker.Channel) []byte {
	dst = append(append(dst, n.prefix...), '.')
	dst = append(append(dst, ch.Protocol().String()...), '.')
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

// subscription returns the subject to subscribe to for a filter. For EveryRoom it ends in a
// wildcard.
func (n *naming) subscription(f broker.Filter) string {
	s := n.appendSubject(nil, f.Channel())
	if f.IsEveryRoom() {
		s = append(s[:len(s)-len(wordAll)], '>')
	}
	return string(s)
}

// mark returns the subject of the marks by which a broker checks how far its subscriptions have
// propagated among the servers.
func (n *naming) mark(id string) string { return n.prefix + "." + wordMark + "." + id }

// parse converts a subject to its channel. If a token is a hash it returns long instead: the
// names are then in the message.
func (n *naming) parse(subject string) (ch broker.Channel, long, ok bool) {
	rest, found := strings.CutPrefix(subject, n.prefix)
	if !found || rest == "" || rest[0] != '.' {
		return ch, false, false
	}
	protocol, rest, _ := strings.Cut(rest[1:], ".")
	p := broker.NewProtocol(protocol)
	if p == (broker.Protocol{}) || reserved(protocol) {
		return ch, false, false
	}
	kind, rest, more := strings.Cut(rest, ".")
	if !more {
		return broker.Control(), false, kind == wordControl && p == broker.Native
	}
	token, rest, more := strings.Cut(rest, ".")
	ns, long, ok := readToken(token)
	if !ok {
		return ch, false, false
	}
	switch kind {
	case wordControl:
		return broker.NodeControl(ns), long, !more && p == broker.Native && (ns != "" || long)
	case wordCast:
		if rest == wordAll {
			return p.Broadcast(ns), long, true
		}
		word, token, _ := strings.Cut(rest, ".")
		room, longRoom, ok := readToken(token)
		return p.Room(ns, room), long || longRoom, ok && word == wordRoom
	case wordRequest:
		return p.Requests(ns), long, !more
	case wordResponse:
		if !more {
			return p.Responses(ns), long, true
		}
		id, longID, ok := readToken(rest)
		return p.NodeResponses(ns, id), long || longID, ok
	}
	return ch, false, false
}

// readToken reverses appendToken. It accepts only tokens that appendToken makes.
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
