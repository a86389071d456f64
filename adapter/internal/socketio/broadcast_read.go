package socketio

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// The decoder accepts what the servers of socket.io-redis accept, by the rules of
// JavaScript. [PROTOCOL 15] lists how each generation reads each field. Where the
// generations differ the decoder follows @socket.io/redis-adapter 8. For packets of type 5
// it follows 5.4.0, because only servers of v5 write them.

// DecodeBroadcast implements wire.Codec. Of the packet's data it reads only the event's
// name.
func (c *Codec) DecodeBroadcast(payload []byte, ns string, b *wire.Broadcast) error {
	r := msgpack.NewReader(payload)
	*b = wire.Broadcast{Rooms: b.Rooms[:0], All: b.All[:0], Except: b.Except[:0]}
	var err error
	if c.sharded() {
		err = c.readShardBroadcast(payload, ns, b)
	} else {
		err = readBroadcast(&r, ns, b)
	}
	if err != nil {
		return badMessage("broadcast", err)
	}
	return nil
}

// badMessage wraps a reader's error in a *MessageError. It returns ErrIgnored unchanged.
func badMessage(message string, err error) error {
	if isIgnored(err) {
		return err
	}
	return &MessageError{Message: message, Reason: "malformed", Err: err}
}

func readBroadcast(r *msgpack.Reader, ns string, b *wire.Broadcast) error {
	n, err := r.ArrayLen()
	if err != nil {
		return err
	}
	if n < 2 {
		return errNoPacket
	}
	if b.Origin, err = readUID(r); err != nil {
		return err
	}
	if err := readPacket(r, ns, b); err != nil {
		return err
	}
	if n == 2 {
		return errNoOpts
	}
	if _, err := readOpts(r, b); err != nil {
		return err
	}
	// Servers ignore further elements [PROTOCOL 13].
	for range n - 3 {
		if err := r.Skip(); err != nil {
			return err
		}
	}
	if len(b.Rooms) == 1 && b.Rooms[0] == noSuchRoom {
		return errNoSuchRoom
	}
	return r.End()
}

// readUID reads the uid of the sender. No server has a uid that is empty or not text: such
// a broadcast counts as an emitter's.
func readUID(r *msgpack.Reader) (uid string, err error) {
	if r.Kind() == msgpack.String {
		uid, err = r.Text()
	} else {
		err = r.Skip()
	}
	if uid == "" {
		uid = EmitterUID
	}
	return uid, err
}

// The usual form of packets and opts, which nearly all messages have. The codec reads and
// writes it in one piece.
const (
	usualPacket = "\x83\xa4type\x02\xa4data" // an array
	usualNsp    = "\xa3nsp"
	usualOpts   = "\x83\xa5rooms" // an array
	usualRest   = "\xa6except\x90\xa5flags\x80"
)

// readUsualPacket is readPacket for the usual form. It reports false, without effect,
// for any other.
func readUsualPacket(r *msgpack.Reader, ns string, b *wire.Broadcast) bool {
	q := *r
	if !q.TryRaw(usualPacket) || q.Kind() != msgpack.Array {
		return false
	}
	data, err := q.RawWithin(payloadLevels)
	if err != nil || refusedByClients(data) != nil || !q.TryRaw(usualNsp) || !q.TryText(ns) {
		return false
	}
	*r, b.Payload = q, data
	return true
}

// readUsualOpts is readOpts for the usual form. It reports false, without effect, for any other.
func readUsualOpts(r *msgpack.Reader, b *wire.Broadcast) bool {
	q := *r
	if !q.TryRaw(usualOpts) || q.Kind() != msgpack.Array {
		return false
	}
	rooms, err := readRooms(&q, b.Rooms[:0])
	if err != nil || !q.TryRaw(usualRest) {
		return false
	}
	*r, b.Rooms = q, rooms
	return true
}

// readPacket reads the packet of a broadcast. Its data becomes b.Payload.
func readPacket(r *msgpack.Reader, ns string, b *wire.Broadcast) error {
	if readUsualPacket(r, ns, b) {
		return nil
	}
	if r.Kind() != msgpack.Map {
		if truthy, err := r.Truthy(); err != nil || truthy {
			return cmp.Or(err, errNoEvent)
		}
		return errNoPacket
	}
	p, err := readFields(r)
	if err != nil {
		return err
	}
	nsp := "/"
	switch q := msgpack.NewReader(p.nsp); {
	case q.Kind() == msgpack.String:
		nsp, _ = q.Text()
	case p.nsp != nil && !q.Undefined():
		return wire.ErrForeignNamespace
	}
	if nsp != ns {
		return wire.ErrForeignNamespace
	}
	return p.event(ns, b)
}

// packet holds the encoded fields of a packet. A field is nil if it is
// missing.
type packet struct{ typ, data, nsp, id []byte }

// readFields reads a packet's fields. If a key appears twice the last one counts.
func readFields(r *msgpack.Reader) (p packet, err error) {
	n, err := r.MapLen()
	if err != nil {
		return p, err
	}
	for range n {
		key, err := r.Script()
		if err != nil {
			return p, err
		}
		raw, err := r.Raw()
		if err != nil {
			return p, err
		}
		switch key {
		case "type":
			p.typ = raw
		case "data":
			p.data = raw
		case "nsp":
			p.nsp = raw
		case "id":
			p.id = raw
		}
	}
	return p, nil
}

// event stores a packet's data in b if clients read the packet as an event. Node.js servers
// do not check: they concatenate the texts of type, namespace, id and data, and a client
// that cannot read the result disconnects.
func (p *packet) event(ns string, b *wire.Broadcast) error {
	written := false
	switch typ, err := number(p.typ); {
	case err != nil:
		return err
	case typ == packetEvent:
	case typ == packetBinaryEvent: // only servers of v5 send and read it
		b.Flags |= wire.Binary
	default:
		// Servers write the text of any other value. Clients read the characters after its
		// first digit as an id.
		r := msgpack.NewReader(p.typ)
		text, err := r.Script()
		if err != nil || text == "" || text[0] != '0'+packetEvent || len(text) > 1 && (ns != "/" || !digits(text)) {
			return errPacketType
		}
		written = true
	}
	if id := msgpack.NewReader(p.id); p.id != nil && !id.TryNil() {
		if text, err := id.Script(); err != nil || !digits(text) {
			return errPacketID
		}
	}
	raw := p.data
	if r := msgpack.NewReader(raw); r.Kind() == msgpack.Extension {
		// JavaScript reads an unknown extension as a list of type and data.
		e, err := r.Ext()
		if _, date := e.Time(); err != nil || date || e.Type == 0 {
			return errNoEvent
		}
		raw = msgpack.AppendInt(msgpack.AppendArrayLen(nil, 2), int64(e.Type))
		raw = msgpack.AppendBytes(raw, e.Data)
	}
	if len(raw) > payloadLevels {
		r := msgpack.NewReader(raw)
		if _, err := r.RawWithin(payloadLevels); err != nil {
			return err
		}
	}
	if written { // servers send binary data as attachments in packets of type 2 only
		text, err := msgpack.AppendJSON(nil, raw, nil)
		if err == nil {
			raw, err = msgpack.FromJSON(nil, text)
		}
		if err != nil {
			return err
		}
	}
	if err := refusedByClients(raw); err != nil {
		return err
	}
	b.Payload = raw
	return nil
}

// number returns the number in raw, or NaN if raw is not a number.
func number(raw []byte) (float64, error) {
	r := msgpack.NewReader(raw)
	if kind := r.Kind(); kind != msgpack.Int && kind != msgpack.Float {
		return math.NaN(), nil
	}
	return r.Float()
}

// digits reports whether clients read s as an acknowledgement id or as no id. They accept
// every character that JavaScript converts to a number: digits and white space.
func digits(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != ' ' && (c < '\t' || c > '\r') {
			return false
		}
	}
	return true
}

// refusedByClients returns an error for data at which clients disconnect. Data must be a
// list that begins with an event name: text or a number, but no name reserved by Socket.IO.
func refusedByClients(data []byte) error {
	if len(data) > 1 && data[0] > 0x90 && data[0] <= 0x9f && data[1]&0xe0 == 0xa0 { // nearly always
		if reservedEvent(string(data[2 : 2+data[1]&0x1f])) {
			return errReserved
		}
		return nil
	}
	r := msgpack.NewReader(data)
	n, err := r.ArrayLen()
	if err != nil || n == 0 {
		return errNoEvent
	}
	switch r.Kind() {
	case msgpack.String:
		name, err := r.Text()
		if err == nil && reservedEvent(name) {
			err = errReserved
		}
		return err
	case msgpack.Int:
		return nil
	case msgpack.Float:
		if v, err := r.Float(); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return nil
		}
	case msgpack.Extension:
		e, err := r.Ext() // a date becomes text
		if t, ok := e.Time(); err == nil && ok && msgpack.ValidDate(t) {
			return nil
		}
	}
	return errNoEvent
}

// readOpts reads opts into b, and returns the timeout in its flags. Opts may be any object
// of JavaScript; one that is not a map has neither rooms nor flags.
func readOpts(r *msgpack.Reader, b *wire.Broadcast) (timeout time.Duration, err error) {
	if readUsualOpts(r, b) {
		return 0, nil
	}
	switch kind := r.Kind(); {
	case kind == msgpack.Map:
	case kind == msgpack.Array, kind == msgpack.Bytes, kind == msgpack.Extension && !r.Undefined():
		return 0, r.Skip()
	default:
		return 0, cmp.Or(r.Skip(), errNoOpts)
	}
	n, err := r.MapLen()
	if err != nil {
		return 0, err
	}
	var x extension
	var badRooms, badExcept error // if a key appears twice the last one counts
	for range n {
		key, err := r.Script()
		if err != nil {
			return 0, err
		}
		switch key {
		case "rooms":
			b.Rooms, badRooms, err = tryRooms(r, b.Rooms[:0])
		case "except":
			b.Except, badExcept, err = tryRooms(r, b.Except[:0])
		case "flags":
			timeout, err = readFlags(r, b)
		default:
			err = x.readMsgpack(key, r)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(b.Except) == 1 && b.Except[0] == noSuchRoom {
		b.Except = b.Except[:0]
	}
	b.Header, b.HeaderDropped, b.Relay = x.header, x.dropped, x.relay
	b.All = append(b.All[:0], x.all...)
	if b.Relay != "" {
		err = checkMark(b.Relay)
	}
	return timeout, cmp.Or(badRooms, badExcept, err)
}

// tryRooms is readRooms, but skips a value that is not a list of rooms, and returns the
// reason in bad.
func tryRooms(r *msgpack.Reader, dst []string) (list []string, bad, err error) {
	start := *r
	if list, bad = readRooms(r, dst); bad != nil {
		*r = start
		return dst, bad, r.Skip()
	}
	return list, nil, nil
}

// readFlags reads the flags that receivers use. A value that is not a map has none.
func readFlags(r *msgpack.Reader, b *wire.Broadcast) (timeout time.Duration, err error) {
	b.Flags &^= wire.Volatile | wire.NoCompress
	if r.Kind() != msgpack.Map {
		return 0, r.Skip()
	}
	n, err := r.MapLen()
	if err != nil {
		return 0, err
	}
	for range n {
		key, err := r.Script()
		if err != nil {
			return 0, err
		}
		on := false
		switch kind := r.Kind(); {
		case key == "volatile":
			on, err = r.Truthy()
			setFlag(b, wire.Volatile, on)
		case key == "compress" && kind == msgpack.Bool:
			on, err = r.Bool()
			setFlag(b, wire.NoCompress, !on)
		case key == "compress":
			setFlag(b, wire.NoCompress, false)
			err = r.Skip()
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

func setFlag(b *wire.Broadcast, f wire.Flags, on bool) {
	if b.Flags &^= f; on {
		b.Flags |= f
	}
}

// timeoutOf returns the duration of a JavaScript timeout: zero if ms is not a positive
// number, and at most the longest time of a JavaScript timer.
func timeoutOf(ms float64) time.Duration {
	if !(ms > 0) {
		return 0
	}
	return time.Duration(math.Min(ms, math.MaxInt32) * float64(time.Millisecond))
}

// payloadLevels is how many levels of arrays and maps a packet's data may have: as many as
// this codec can send.
const payloadLevels = msgpack.MaxDepth - 2

// Errors of broadcasts that are sound msgpack.
var (
	errNoPacket   = fmt.Errorf("no packet: %w", wire.ErrIgnored) // as Node.js does
	errNoSuchRoom = fmt.Errorf("rooms that no socket can be in: %w", wire.ErrIgnored)
	errNoOpts     = errors.New("no opts")
	errNoEvent    = errors.New("packet without an array of event name and arguments")
	errPacketType = errors.New("packet is not an event")
	errPacketID   = errors.New("packet id is not a number")
	errReserved   = errors.New("event name is reserved by Socket.IO")
)
