package socketio

import (
	"errors"
	"fmt"
	"time"

	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// A broadcast is [uid, packet, opts] [PROTOCOL 4]. The codec writes all keys that any
// version expects, in the order of v6 to v8.

// AppendBroadcast implements wire.Codec.
func (c *Codec) AppendBroadcast(dst []byte, ns string, b *wire.Broadcast) ([]byte, error) {
	if c.sharded() {
		return c.appendShardBroadcast(dst, "broadcast", ns, b, "", nil)
	}
	data, traits, err := c.checkBroadcast("broadcast", ns, b)
	if err != nil {
		return dst, err
	}
	typ := int64(packetEvent)
	if traits&msgpack.HasBinary != 0 && c.opts.Dialect == V5 && c.binary5.Load() {
		typ = packetBinaryEvent
	}
	start := len(dst)
	dst = msgpack.AppendArrayLen(dst, 3)
	dst = msgpack.AppendString(dst, b.Origin)
	dst = appendPacketHead(dst, typ)
	if head := dst[start:]; len(head) <= len(b.Lead) && len(data) > 0 && &data[0] == &b.Payload[0] {
		free := len(b.Lead)
		dst = b.Lead[:free+len(data)]
		dst = dst[free-len(head):]
		copy(dst, head)
	} else {
		dst = append(dst, data...)
	}
	dst = msgpack.AppendString(append(dst, usualNsp...), ns)
	return c.appendOpts(dst, b, 0), nil
}

// checkBroadcast refuses a broadcast that would harm a Node.js process [PROTOCOL 11], and
// returns the payload in the form to be sent.
func (c *Codec) checkBroadcast(message, ns string, b *wire.Broadcast) (data []byte, traits msgpack.Traits, err error) {
	own := [...]string{ns, b.Origin, b.Relay}
	if err := checkText(message, own[:], b.Rooms, b.All, b.Except); err != nil {
		return nil, 0, err
	}
	if err := c.carries(message, b.All); err != nil {
		return nil, 0, err
	}
	if err := checkHeader(message, b.Header); err != nil {
		return nil, 0, err
	}
	return c.checkData(message, b.Payload, b.Flags)
}

// checkData is checkBroadcast for the payload alone.
func (c *Codec) checkData(message string, payload []byte, flags wire.Flags) (data []byte, traits msgpack.Traits, err error) {
	r := msgpack.NewReader(payload)
	if r.Kind() != msgpack.Array {
		return nil, 0, &MessageError{Message: message, Reason: "payload is not an array of event name and arguments"}
	}
	if flags&Sound != 0 {
		if flags&wire.Binary != 0 {
			traits = msgpack.HasBinary
			err = c.checkAttachments(payload)
		}
		return payload, traits, err
	}
	// The payload is inside two levels, packet and broadcast.
	data, traits, err = checkPayload(message, payload, 2)
	if err != nil {
		return nil, 0, err
	}
	if err := checkFirst(message, data); err != nil {
		return nil, 0, err
	}
	harm := c.harmful(traits, true)
	if message == "request" && traits&msgpack.HasBinary == 0 {
		harm &^= msgpack.HasProto // it travels as JSON
	}
	if harm != 0 {
		return nil, 0, harmError(data, harm, true)
	}
	if traits&msgpack.HasBinary != 0 {
		err = c.checkAttachments(data)
	}
	return data, traits, err
}

// Sound marks a payload that this process has just encoded and whose only trait may be
// binary data. It needs no check, which would cost as much as encoding.
const Sound wire.Flags = 1 << 7

// CarriesAll reports whether messages may have All: servers that are not Crossroom nodes would not read it, and select
// too many sockets. V5 has no requests with a selector.
func (c *Codec) CarriesAll() bool {
	return c.opts.OnlyCrossroom && c.opts.Dialect == V6 && !c.sharded()
}

func (c *Codec) carries(message string, all []string) error {
	if len(all) == 0 || c.CarriesAll() {
		return nil
	}
	return fmt.Errorf("adapter: %s to members in all of several rooms: Node.js servers cannot read it: %w", message, errors.ErrUnsupported)
}

// CheckEvent refuses the payload of a broadcast, or of a request with acknowledgements, if
// it would harm a Node.js server.
func (c *Codec) CheckEvent(op wire.Op, payload []byte, flags wire.Flags) error {
	message := "broadcast"
	if op != 0 {
		message = "request"
	}
	_, _, err := c.checkData(message, payload, flags)
	return err
}

// checkPayload checks msgpack at depth levels inside a message. It converts dates of v8 and
// text that is not UTF-8, which a message of another server may hold when it is passed on,
// to the form that all versions read.
func checkPayload(message string, payload []byte, depth int) (data []byte, traits msgpack.Traits, err error) {
	traits, err = msgpack.Check(payload, depth)
	if err != nil || traits&msgpack.HasTimestamp != 0 {
		payload = msgpack.Portable(payload)
	}
	if err != nil { // bad UTF-8, which Portable may have mended
		traits, err = msgpack.Check(payload, depth)
	}
	if err != nil {
		return nil, 0, &MessageError{Message: message, Reason: "payload", Err: err}
	}
	return payload, traits, nil
}

func appendPacket(dst []byte, ns string, typ int64, data []byte) []byte {
	return appendText(append(appendPacketHead(dst, typ), data...), "nsp", ns)
}

// appendPacketHead appends the part of a packet before its data.
func appendPacketHead(dst []byte, typ int64) []byte {
	if typ == packetEvent {
		return append(dst, usualPacket...)
	}
	dst = msgpack.AppendMapLen(dst, 3)
	dst = msgpack.AppendInt(msgpack.AppendString(dst, "type"), typ)
	return msgpack.AppendString(dst, "data")
}

// appendOpts appends opts. timeout is that of a broadcast with acknowledgements, or zero.
func (c *Codec) appendOpts(dst []byte, b *wire.Broadcast, timeout time.Duration) []byte {
	if len(b.Except) == 0 && b.Flags&(wire.Volatile|wire.NoCompress) == 0 && timeout <= 0 && b.Header == nil && b.Relay == "" && len(b.All) == 0 {
		return append(c.appendRooms(append(dst, usualOpts...), b.Rooms), usualRest...)
	}
	x := extension{header: b.Header, relay: b.Relay, all: b.All}
	dst = msgpack.AppendMapLen(dst, 3+x.keys())
	dst = c.appendRooms(msgpack.AppendString(dst, "rooms"), b.Rooms)
	dst = c.appendRooms(msgpack.AppendString(dst, "except"), b.Except)
	flags := 0
	if b.Flags&wire.Volatile != 0 {
		flags++
	}
	if b.Flags&wire.NoCompress != 0 {
		flags++
	}
	if timeout > 0 {
		flags++
	}
	dst = msgpack.AppendMapLen(msgpack.AppendString(dst, "flags"), flags)
	if b.Flags&wire.Volatile != 0 {
		dst = msgpack.AppendBool(msgpack.AppendString(dst, "volatile"), true)
	}
	if b.Flags&wire.NoCompress != 0 {
		dst = msgpack.AppendBool(msgpack.AppendString(dst, "compress"), false)
	}
	if timeout > 0 {
		dst = msgpack.AppendInt(msgpack.AppendString(dst, "timeout"), milliseconds(timeout))
	}
	return x.appendMsgpack(dst)
}

// milliseconds returns d in milliseconds, rounded up: JavaScript has no shorter timeouts.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
