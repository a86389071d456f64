package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// kind of a Socket.IO packet: the digit it begins with.
// https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
type kind byte

const (
	kindConnect kind = '0' + iota
	kindDisconnect
	kindEvent
	kindAck
	kindConnectError
	kindBinaryEvent
	kindBinaryAck
)

// packet is a packet from a client. Binary events and acknowledgements become plain ones when their attachments have
// arrived.
type packet struct {
	kind      kind
	namespace string
	id        uint64 // of an acknowledgement
	hasID     bool
	event     string         // of an event
	args      []any          // of an event or an acknowledgement, for adapter.BindArgs
	auth      map[string]any // of CONNECT; nil if it had none
}

// parseText reads a packet's text. attachments is the number that must follow it.
func parseText(text []byte, maxAttachments int) (p *packet, attachments int, err error) {
	if !utf8.Valid(text) {
		return nil, 0, errors.New("not valid UTF-8")
	}
	if len(text) == 0 || text[0] < '0' || text[0] > '6' {
		return nil, 0, errors.New("unknown packet type")
	}
	p = &packet{kind: kind(text[0]), namespace: "/"}
	rest := text[1:]
	if p.kind == kindBinaryEvent || p.kind == kindBinaryAck {
		if attachments, rest, err = cutAttachments(rest, maxAttachments); err != nil {
			return nil, 0, err
		}
	}
	if len(rest) > 0 && rest[0] == '/' {
		name, after, _ := bytes.Cut(rest, []byte{','})
		p.namespace, rest = string(name), after
	}
	digits := len(rest) - len(bytes.TrimLeft(rest, "0123456789"))
	if digits > 0 {
		if p.id, err = strconv.ParseUint(string(rest[:digits]), 10, 64); err != nil {
			return nil, 0, errors.New("acknowledgement id out of range")
		}
		p.hasID, rest = true, rest[digits:]
	}
	return p, attachments, p.read(rest)
}

// cutAttachments reads the number before the '-'.
func cutAttachments(text []byte, limit int) (n int, rest []byte, err error) {
	digits, rest, found := bytes.Cut(text, []byte{'-'})
	n, err = strconv.Atoi(string(digits))
	switch {
	case !found || err != nil || n < 1 || digits[0] == '+':
		return 0, nil, errors.New("illegal number of attachments")
	case n > limit:
		return 0, nil, fmt.Errorf("%d attachments, more than %d", n, limit)
	}
	return n, rest, nil
}

// read parses the packet's JSON.
func (p *packet) read(text []byte) error {
	switch p.kind {
	case kindDisconnect:
		if len(text) > 0 {
			return errors.New("DISCONNECT with a payload")
		}
		return nil
	case kindConnect:
		if len(text) == 0 {
			return nil
		}
		v, err := readJSON(text)
		if err != nil {
			return err
		}
		auth, ok := v.(map[string]any)
		if !ok {
			return errors.New("the payload of CONNECT is not an object")
		}
		p.auth = auth
		return nil
	case kindConnectError:
		return errors.New("CONNECT_ERROR from a client")
	}
	v, err := readJSON(text)
	if err != nil {
		return err
	}
	list, ok := v.([]any)
	if !ok {
		return errors.New("the payload is not an array")
	}
	if p.kind == kindAck || p.kind == kindBinaryAck {
		if !p.hasID {
			return errors.New("an acknowledgement without an id")
		}
		p.args = list
		return nil
	}
	if len(list) == 0 {
		return errors.New("an event without a name")
	}
	p.args = list[1:]
	switch name := list[0].(type) {
	case string:
		p.event = name
	case int64: // JavaScript allows numbers as event names
		p.event = strconv.FormatInt(name, 10)
	default:
		return errors.New("the event's name is not a string")
	}
	switch p.event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return fmt.Errorf("event name %q is reserved", p.event)
	}
	return nil
}

// readJSON reads one value. Integers are int64 if they fit, as in adapter.Packet.Args.
func readJSON(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("invalid JSON: more than one value")
	}
	return walk(v, func(v any) (any, error) {
		n, ok := v.(json.Number)
		if !ok {
			return v, nil
		}
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return i, nil
		}
		f, err := n.Float64()
		if err != nil {
			return nil, fmt.Errorf("invalid JSON: number %.30s", n)
		}
		return f, nil
	})
}

// attach replaces the placeholders by the attachments. Each attachment has one place, as clients write it. Otherwise a
// small packet could repeat a large attachment, and copies of its arguments would grow without limit.
func (p *packet) attach(attachments [][]byte) error {
	used := make([]bool, len(attachments))
	_, err := walk(p.args, func(v any) (any, error) {
		m, ok := v.(map[string]any)
		if !ok || m["_placeholder"] != true {
			return v, nil
		}
		n, ok := m["num"].(int64)
		if !ok || n < 0 || n >= int64(len(attachments)) || used[n] {
			return nil, errors.New("illegal attachments")
		}
		used[n] = true
		return attachments[n], nil
	})
	switch p.kind {
	case kindBinaryEvent:
		p.kind = kindEvent
	case kindBinaryAck:
		p.kind = kindAck
	}
	return err
}

// walk replaces values in a tree, from the leaves up.
func walk(v any, f func(any) (any, error)) (any, error) {
	var err error
	switch v := v.(type) {
	case []any:
		for i := range v {
			if v[i], err = walk(v[i], f); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = walk(v[k], f); err != nil {
				return nil, err
			}
		}
	}
	return f(v)
}
