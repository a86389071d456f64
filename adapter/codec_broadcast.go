package adapter

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// A broadcast is [uid, packet, opts] [PROTOCOL 4]. We write all keys that any version
// expects, in the order of v6 to v8.

// AppendBroadcast implements backplane.Codec.
func (c *codec) AppendBroadcast(dst []byte, ns string, b *backplane.Broadcast) ([]byte, error) {
	data, traits, err := checkBroadcast("broadcast", ns, b)
	if err != nil {
		return dst, err
	}
	typ := int64(packetEvent)
	if traits&msgpack.HasBinary != 0 && c.dialect == V5 && c.binary5.Load() {
		typ = packetBinaryEvent
	}
	dst = msgpack.AppendArrayLen(dst, 3)
	dst = msgpack.AppendString(dst, b.Origin)
	dst = appendPacket(dst, ns, typ, data)
	return c.appendOpts(dst, b, 0), nil
}

// checkBroadcast refuses what would harm a Node.js process that reads it [PROTOCOL
// 11] and returns the payload as it should be sent.
func checkBroadcast(message, ns string, b *backplane.Broadcast) (data []byte, traits msgpack.Traits, err error) {
	own := [...]string{ns, b.Origin, b.Relay}
	if err := checkText(message, own[:], b.Rooms, b.Except); err != nil {
		return nil, 0, err
	}
	if err := checkHeader(message, b.Header); err != nil {
		return nil, 0, err
	}
	r := msgpack.NewReader(b.Payload)
	if r.Kind() != msgpack.Array {
		return nil, 0, &MessageError{Message: message, Reason: "payload is not an array of event name and arguments"}
	}
	if b.Flags&sound != 0 {
		if b.Flags&backplane.Binary != 0 {
			traits = msgpack.HasBinary
		}
		return b.Payload, traits, nil
	}
	// Packet and broadcast are two levels around it.
	return checkPayload(message, b.Payload, 2)
}

// sound marks a payload that this package has just encoded from simple values, and
// that needs no check: checking costs as much as encoding.
const sound backplane.Flags = 1 << 7

// checkPayload checks msgpack that stands depth levels down in a message, and puts
// dates that came from v8, as relayed ones may, into the form that all versions read.
func checkPayload(message string, payload []byte, depth int) (data []byte, traits msgpack.Traits, err error) {
	traits, err = msgpack.Check(payload, depth)
	if err != nil {
		return nil, 0, &MessageError{Message: message, Reason: "payload", Err: err}
	}
	if traits&msgpack.HasTimestamp != 0 {
		payload = msgpack.Portable(payload)
	}
	return payload, traits, nil
}

func appendPacket(dst []byte, ns string, typ int64, data []byte) []byte {
	dst = msgpack.AppendMapLen(dst, 3)
	dst = msgpack.AppendInt(msgpack.AppendString(dst, "type"), typ)
	dst = append(msgpack.AppendString(dst, "data"), data...)
	return appendText(dst, "nsp", ns)
}

// appendOpts appends opts, with the timeout of a broadcast with acknowledgements.
func (c *codec) appendOpts(dst []byte, b *backplane.Broadcast, timeout time.Duration) []byte {
	x := extras{header: b.Header, relay: b.Relay}
	dst = msgpack.AppendMapLen(dst, 3+x.keys())
	dst = c.appendRooms(msgpack.AppendString(dst, "rooms"), b.Rooms)
	dst = c.appendRooms(msgpack.AppendString(dst, "except"), b.Except)
	flags := 0
	if b.Flags&backplane.Volatile != 0 {
		flags++
	}
	if b.Flags&backplane.NoCompress != 0 {
		flags++
	}
	if timeout > 0 {
		flags++
	}
	dst = msgpack.AppendMapLen(msgpack.AppendString(dst, "flags"), flags)
	if b.Flags&backplane.Volatile != 0 {
		dst = msgpack.AppendBool(msgpack.AppendString(dst, "volatile"), true)
	}
	if b.Flags&backplane.NoCompress != 0 {
		dst = msgpack.AppendBool(msgpack.AppendString(dst, "compress"), false)
	}
	if timeout > 0 {
		dst = msgpack.AppendInt(msgpack.AppendString(dst, "timeout"), milliseconds(timeout))
	}
	return x.appendMsgpack(dst)
}

// milliseconds of d, rounded up: JavaScript has no shorter timeouts.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// DecodeBroadcast implements backplane.Codec. The packet's data is not looked into.
func (c *codec) DecodeBroadcast(payload []byte, ns string, b *backplane.Broadcast) error {
	r := msgpack.NewReader(payload)
	*b = backplane.Broadcast{Rooms: b.Rooms[:0], Except: b.Except[:0]}
	if err := readBroadcast(&r, ns, b); err != nil {
		return badMessage("broadcast", err)
	}
	return nil
}

// badMessage makes a *MessageError of a reader's error; ErrIgnored passes as it is.
func badMessage(message string, err error) error {
	if isIgnored(err) {
		return err
	}
	return &MessageError{Message: message, Reason: "malformed", Err: err}
}

func readBroadcast(r *msgpack.Reader, ns string, b *backplane.Broadcast) error {
	n, err := r.ArrayLen()
	if err != nil {
		return err
	}
	if n == 0 {
		return errNoUID
	}
	// Anything but text is nobody's own uid.
	if r.Kind() == msgpack.String {
		b.Origin, err = r.String()
	} else {
		err = r.Skip()
	}
	if err != nil {
		return err
	}
	if n == 1 || r.TryNil() {
		return errNoPacket
	}
	if err := readPacket(r, ns, b); err != nil {
		return err
	}
	if n > 2 {
		if _, err := readOpts(r, b); err != nil {
			return err
		}
	}
	// More elements are allowed and mean nothing [PROTOCOL 13].
	for range n - 3 {
		if err := r.Skip(); err != nil {
			return err
		}
	}
	return r.End()
}

// Packets and opts as servers write them nearly always, we among them.
const (
	usualPacket = "\x83\xa4type\x02\xa4data" // an array
	usualNsp    = "\xa3nsp"
	usualOpts   = "\x83\xa5rooms" // an array
	usualRest   = "\xa6except\x90\xa5flags\x80"
)

// readUsualPacket is readPacket for the usual form. It reports false, without effect,
// for any other.
func readUsualPacket(r *msgpack.Reader, ns string, b *backplane.Broadcast) bool {
	q := *r
	if !q.TryRaw(usualPacket) || q.Kind() != msgpack.Array {
		return false
	}
	data, err := q.Raw()
	if err != nil || !q.TryRaw(usualNsp) {
		return false
	}
	if nsp, err := q.String(); err != nil || nsp != ns {
		return false
	}
	*r, b.Payload = q, data
	return true
}

// readUsualOpts is readOpts for the usual form, likewise.
func readUsualOpts(r *msgpack.Reader, b *backplane.Broadcast) bool {
	q := *r
	if !q.TryRaw(usualOpts) {
		return false
	}
	rooms, err := readRooms(&q, b.Rooms[:0])
	if err != nil || !q.TryRaw(usualRest) {
		return false
	}
	*r, b.Rooms = q, rooms
	return true
}

// readPacket reads a packet. Its data becomes b.Payload, unread.
func readPacket(r *msgpack.Reader, ns string, b *backplane.Broadcast) error {
	if readUsualPacket(r, ns, b) {
		return nil
	}
	n, err := r.MapLen()
	if err != nil {
		return err
	}
	nsp, typ := "/", int64(-1)
	for range n {
		key, err := readKey(r)
		if err != nil {
			return err
		}
		switch key {
		case "type":
			typ, err = r.Int()
		case "nsp":
			if !r.TryNil() {
				nsp, err = r.String()
			}
		case "data":
			if r.Kind() != msgpack.Array {
				return errNoEvent
			}
			b.Payload, err = r.Raw()
		default:
			err = r.Skip()
		}
		if err != nil {
			return err
		}
	}
	switch {
	case nsp != ns:
		return backplane.ErrForeignNamespace
	case typ != packetEvent && typ != packetBinaryEvent:
		return errPacketType
	case b.Payload == nil:
		return errNoEvent
	}
	if typ == packetBinaryEvent {
		b.Flags |= backplane.Binary
	}
	return nil
}

// readKey reads a map's key; one that is no text comes back empty, as no key we know.
func readKey(r *msgpack.Reader) (string, error) {
	if r.Kind() == msgpack.String {
		return r.String()
	}
	return "", r.Skip()
}

// readOpts reads opts into b, and the timeout in its flags. Nothing and nil count as
// empty; so do rooms, except and flags in it [PROTOCOL 4].
func readOpts(r *msgpack.Reader, b *backplane.Broadcast) (timeout time.Duration, err error) {
	if readUsualOpts(r, b) || r.TryNil() {
		return 0, nil
	}
	n, err := r.MapLen()
	if err != nil {
		return 0, err
	}
	var x extras
	for range n {
		key, err := readKey(r)
		if err != nil {
			return 0, err
		}
		switch {
		case key == "rooms":
			b.Rooms, err = readRooms(r, b.Rooms[:0])
		case key == "except":
			b.Except, err = readRooms(r, b.Except[:0])
		case key == "flags":
			timeout, err = readFlags(r, b)
		default:
			err = x.readMsgpack(key, r)
		}
		if err != nil {
			return 0, err
		}
	}
	b.Header, b.HeaderDropped, b.Relay = x.header, x.dropped, x.relay
	if b.Relay != "" {
		return timeout, checkMark(b.Relay)
	}
	return timeout, nil
}

// readFlags reads those flags that receivers act on.
func readFlags(r *msgpack.Reader, b *backplane.Broadcast) (timeout time.Duration, err error) {
	if r.TryNil() {
		return 0, nil
	}
	n, err := r.MapLen()
	if err != nil {
		return 0, err
	}
	for range n {
		key, err := readKey(r)
		if err != nil {
			return 0, err
		}
		switch kind := r.Kind(); {
		case key == "volatile" && kind == msgpack.Bool:
			v, _ := r.Bool()
			setFlag(b, backplane.Volatile, v)
		case key == "compress" && kind == msgpack.Bool:
			v, _ := r.Bool()
			setFlag(b, backplane.NoCompress, !v)
		case key == "timeout" && (kind == msgpack.Int || kind == msgpack.Float):
			var ms float64
			if ms, err = r.Float(); err == nil {
				timeout = timeoutOf(ms)
			}
		default:
			err = r.Skip()
		}
		if err != nil {
			return 0, err
		}
	}
	return timeout, nil
}

func setFlag(b *backplane.Broadcast, f backplane.Flags, on bool) {
	if b.Flags &^= f; on {
		b.Flags |= f
	}
}

// timeoutOf returns a duration of JavaScript's: nothing if it makes no sense, and no
// more than its timers take.
func timeoutOf(ms float64) time.Duration {
	if !(ms > 0) {
		return 0
	}
	return time.Duration(math.Min(ms, math.MaxInt32) * float64(time.Millisecond))
}

// What is wrong with broadcasts that are sound msgpack.
var (
	errNoUID      = errors.New("no uid")
	errNoPacket   = fmt.Errorf("no packet: %w", backplane.ErrIgnored) // as Node.js does
	errNoEvent    = errors.New("packet without an array of event name and arguments")
	errPacketType = errors.New("packet is no event")
)
