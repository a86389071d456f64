package hub

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// Message is one message to or from a client.
type Message struct {
	// Data is the content: UTF-8, or any bytes if Binary is set. "Ownership" in the package documentation says who may
	// change it.
	Data []byte
	// Binary makes a binary WebSocket message. An event stream gets it in base64, as an event named "binary" unless
	// Event is set.
	Binary bool
	// Event and ID are the fields event and id of an event stream, each one line of UTF-8. A WebSocket does not show them.
	// They are empty in messages of clients.
	Event, ID string
}

// Text makes a message of text.
func Text(s string) Message { return Message{Data: []byte(s)} }

// Binary makes a message of bytes.
func Binary(b []byte) Message { return Message{Data: b, Binary: true} }

// MessageError reports a message that cannot be sent.
type MessageError struct{ Reason string }

func (e *MessageError) Error() string { return "hub: sending a message: " + e.Reason }

// check refuses what a client could not read.
func (m *Message) check() error {
	switch {
	case !m.Binary && !utf8.Valid(m.Data):
		return &MessageError{"the text is not valid UTF-8; use Binary"}
	case !field(m.Event):
		return &MessageError{"Event is not one line of valid UTF-8"}
	case !field(m.ID):
		return &MessageError{"ID is not one line of valid UTF-8"}
	}
	return nil
}

// field reports whether s can be a field of an event stream.
func field(s string) bool { return utf8.ValidString(s) && !strings.ContainsAny(s, "\r\n\x00") }

func encodeJSON(v any) (Message, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Message{}, fmt.Errorf("hub: sending a message: %w", err)
	}
	return Message{Data: b}, nil
}

// A message travels between servers as one of these operations, flags, and the fields that the flags announce, each
// with its length in front. The data takes the rest.
const (
	opMessage = 1

	flagBinary = 1
	flagEvent  = 2
	flagID     = 4
	flagAck    = 8

	knownFlags = flagBinary | flagEvent | flagID | flagAck
)

var errFrame = errors.New("not a message of a hub")

// encode returns the form for other servers. ack is empty if no acknowledgement is wanted.
func (m *Message) encode(ack string) []byte {
	b := make([]byte, 2, 2+len(m.Data)+len(m.Event)+len(m.ID)+len(ack)+3*binary.MaxVarintLen32)
	b[0] = opMessage
	if m.Binary {
		b[1] |= flagBinary
	}
	for _, f := range []struct {
		flag  byte
		value string
	}{{flagEvent, m.Event}, {flagID, m.ID}, {flagAck, ack}} {
		if f.value != "" {
			b[1] |= f.flag
			b = appendString(b, f.value)
		}
	}
	return append(b, m.Data...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// takeString returns a string that appendString wrote, and what follows it.
func takeString(b []byte) (string, []byte, bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return "", nil, false
	}
	b = b[size:]
	return string(b[:n]), b[n:], true
}

// decode reads the form for other servers. The data of the frame is a part of b.
func decode(b []byte) (*frame, error) {
	if len(b) < 2 || b[0] != opMessage || b[1]&^knownFlags != 0 {
		return nil, errFrame
	}
	f := &frame{message: Message{Binary: b[1]&flagBinary != 0}}
	flags, b := b[1], b[2:]
	for _, field := range []struct {
		flag byte
		to   *string
	}{{flagEvent, &f.message.Event}, {flagID, &f.message.ID}, {flagAck, &f.ack}} {
		if flags&field.flag == 0 {
			continue
		}
		var ok bool
		if *field.to, b, ok = takeString(b); !ok {
			return nil, errFrame
		}
	}
	f.message.Data = b
	if f.message.check() != nil { // another process may send anything
		return nil, errFrame
	}
	return f, nil
}

// frame is a message on its way to clients. It is made once and shared by all connections of this server, and so are
// the bytes for each transport.
type frame struct {
	message Message
	ack     string // the id for Conn.Ack; empty if no acknowledgement is wanted
	comment bool   // a keep-alive of an event stream, without a message

	socketOnce, streamOnce sync.Once
	socket, stream         []byte
}

// size is what a frame counts in the queue of a connection.
func (f *frame) size() int { return len(f.message.Data) + len(f.message.Event) + len(f.message.ID) }
