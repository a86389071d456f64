package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"

	"github.com/crossroom/crossroom/broker"
)

const (
	version = 1

	// The parts of a seal.
	idAt      = 1
	idSize    = 4
	sessionAt = idAt + idSize
	counterAt = sessionAt + 8
	timeAt    = counterAt + 8
	tagAt     = timeAt + 8
	tagSize   = 16
	sealSize  = tagAt + tagSize

	textSize = sealSize / 3 * 4 // in base64

	// What stands around a seal.
	extHead  = "\xc7\x2d\x43" // ext8, 45 bytes, type 0x43
	mapKey   = "\xaecrossroom-seal"
	jsonHead = `,"crossroom-seal":"`
	jsonTail = `"}`

	// MaxSize is how much longer than the message a signed message is at most, in bytes. In MessagePack the length of
	// the array or map may take four more bytes.
	MaxSize = len(jsonHead) + textSize + len(jsonTail) - 1
)

var text = base64.RawURLEncoding.Strict()

// errForm: every codec's messages have one of the three forms.
var errForm = errors.New("a message that is neither a list nor an object cannot be signed")

// open appends a message to dst as it is before a seal: with room for one more element.
func open(dst, message []byte) ([]byte, error) {
	if len(message) == 0 {
		return dst, errForm
	}
	switch c := message[0]; {
	case c == '{' && len(message) > 2 && message[len(message)-1] == '}':
		dst = append(dst, message[:len(message)-1]...)
		return append(dst, jsonHead...), nil
	case 0x90 <= c && c < 0x9f || 0x80 <= c && c < 0x8f:
		dst = append(append(dst, c+1), message[1:]...)
	case c == 0x9f || c == 0x8f: // to array16 or map16
		dst = append(append(dst, wide16(c), 0, 16), message[1:]...)
	case (c == 0xdc || c == 0xde) && len(message) >= 3:
		n := uint32(binary.BigEndian.Uint16(message[1:])) + 1
		if n > math.MaxUint16 { // to array32 or map32
			dst = binary.BigEndian.AppendUint32(append(dst, c+1), n)
		} else {
			dst = binary.BigEndian.AppendUint16(append(dst, c), uint16(n))
		}
		dst = append(dst, message[3:]...)
	case (c == 0xdd || c == 0xdf) && len(message) >= 5 && binary.BigEndian.Uint32(message[1:]) < math.MaxUint32:
		dst = binary.BigEndian.AppendUint32(append(dst, c), binary.BigEndian.Uint32(message[1:])+1)
		dst = append(dst, message[5:]...)
	default:
		return dst, errForm
	}
	if isMap(message[0]) {
		dst = append(dst, mapKey...)
	}
	return append(dst, extHead...), nil
}

func isMap(c byte) bool { return c&0xf0 == 0x80 || c == 0xde || c == 0xdf }

func wide16(c byte) byte {
	if c == 0x8f {
		return 0xde
	}
	return 0xdc
}

// split finds the seal of a message, and the part that it covers. ok is false if there is none.
func split(message []byte) (body []byte, seal [sealSize]byte, ok bool) {
	switch {
	case len(message) == 0:
		return nil, seal, false
	case message[0] == '{':
		at := len(message) - len(jsonTail) - textSize
		if at < len(jsonHead) || string(message[len(message)-len(jsonTail):]) != jsonTail || !bytes.HasSuffix(message[:at], []byte(jsonHead)) {
			return nil, seal, false
		}
		n, err := text.Decode(seal[:], message[at:len(message)-len(jsonTail)])
		return message[:at], seal, err == nil && n == sealSize
	default:
		at := len(message) - sealSize
		if at < len(extHead) || string(message[at-len(extHead):at]) != extHead {
			return nil, seal, false
		}
		return message[:at], [sealSize]byte(message[at:]), true
	}
}

// tag computes the tag of a seal without one. The caller puts m back.
func (m *mac) tag(prefix string, ch broker.Channel, head, body []byte) []byte {
	b := append(m.bound[:0], head...)
	b = append(b, byte(ch.Kind()))
	b = appendName(b, prefix)
	b = appendName(b, ch.Protocol().String())
	b = appendName(b, ch.Namespace())
	b = appendName(b, ch.Name())
	m.bound = b
	m.hash.Reset()
	m.hash.Write(b)
	m.hash.Write(body)
	return m.hash.Sum(m.sum[:0])[:tagSize]
}

// appendName appends a name with its length, so that two names are never read as two others.
func appendName(b []byte, name string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(name))), name...)
}
