package backplane

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// nativeCodec is Crossroom's own protocol: MessagePack arrays with a fixed order.
//
//	broadcast  [1, origin, seq, flags, rooms, except, header, relay, payload, all]
//	request    [1, id, op, origin, bits, rooms, except, member, targets, timeout, flags, header, payload, all, page, after]
//	response   [1, id, node, bits, count, rooms, members, payload, error, header]
//	member     [id, rooms, data]
//
// The first element is the version of the layout. Later versions add elements at the end, which this version skips,
// and operations, which it ignores. Empty lists and headers are nil; what is empty at the end from all on is left out.
// timeout is in milliseconds.
type nativeCodec struct{}

const nativeVersion = 1

// How many elements a message has without all and what follows it.
const (
	broadcastFields = 9
	requestFields   = 13
)

var errNative = errors.New("not a message of the native protocol")

// Bits of a request.
const (
	bitByID = 1 << iota
	bitClose
	bitDetail
	bitNoReply
	bitCount
)

// Bits of a response.
const (
	bitNotFound = 1 << iota
	bitAck
	bitBusy
	bitMore
	bitRest
	bitAsk
)

func (nativeCodec) Protocol() broker.Protocol { return broker.Native }
func (nativeCodec) Hello() string             { return "native/1" }

func (nativeCodec) BroadcastChannel(ns string, b *wire.Broadcast) broker.Channel {
	switch {
	case len(b.Rooms) == 1:
		return broker.Native.Room(ns, b.Rooms[0])
	case len(b.Rooms) == 0 && len(b.All) > 0: // no selected member is outside of any of them
		return broker.Native.Room(ns, b.All[0])
	}
	return broker.Native.Broadcast(ns)
}

func (nativeCodec) ResponseChannel(ns string, r *wire.Response) broker.Channel {
	return broker.Native.NodeResponses(ns, r.Request.Origin)
}

func (nativeCodec) AppendBroadcast(dst []byte, _ string, b *wire.Broadcast) ([]byte, error) {
	dst = msgpack.AppendArrayLen(dst, broadcastFields+min(len(b.All), 1))
	dst = msgpack.AppendInt(dst, nativeVersion)
	dst = msgpack.AppendString(dst, b.Origin)
	dst = msgpack.AppendUint(dst, b.Seq)
	dst = msgpack.AppendUint(dst, uint64(b.Flags))
	dst = appendStrings(dst, b.Rooms)
	dst = appendStrings(dst, b.Except)
	dst = appendHeader(dst, b.Header)
	dst = msgpack.AppendString(dst, b.Relay)
	return appendAll(msgpack.AppendBytes(dst, b.Payload), b.All), nil
}

func (nativeCodec) DecodeBroadcast(payload []byte, _ string, b *wire.Broadcast) error {
	r, err := openNative(payload, broadcastFields)
	if err != nil {
		return err
	}
	r.string(&b.Origin)
	r.uint(&b.Seq)
	b.Flags = wire.Flags(r.bits())
	r.strings(&b.Rooms)
	r.strings(&b.Except)
	b.HeaderDropped = r.header(&b.Header)
	r.string(&b.Relay)
	r.bytes(&b.Payload)
	r.all(broadcastFields, &b.All)
	return r.err
}

func (nativeCodec) AppendRequest(dst []byte, _ string, q *wire.Request) ([]byte, error) {
	bits := uint64(0)
	for i, set := range [...]bool{q.ByID, q.Close, q.Detail, q.NoReply, q.CountOnly} {
		if set {
			bits |= 1 << i
		}
	}
	more := min(len(q.All), 1)
	if q.Page > 0 {
		more = 3
	}
	dst = msgpack.AppendArrayLen(dst, requestFields+more)
	dst = msgpack.AppendInt(dst, nativeVersion)
	dst = msgpack.AppendString(dst, q.ID)
	dst = msgpack.AppendUint(dst, uint64(q.Op))
	dst = msgpack.AppendString(dst, q.Origin)
	dst = msgpack.AppendUint(dst, bits)
	dst = appendStrings(dst, q.Rooms)
	dst = appendStrings(dst, q.Except)
	dst = msgpack.AppendString(dst, q.Member)
	dst = appendStrings(dst, q.Targets)
	dst = msgpack.AppendUint(dst, uint64(max(q.Timeout, 0)/time.Millisecond))
	dst = msgpack.AppendUint(dst, uint64(q.Flags))
	dst = appendHeader(dst, q.Header)
	if dst = msgpack.AppendBytes(dst, q.Payload); q.Page <= 0 {
		return appendAll(dst, q.All), nil
	}
	dst = msgpack.AppendUint(appendStrings(dst, q.All), uint64(q.Page))
	return msgpack.AppendString(dst, q.After), nil
}

func (nativeCodec) DecodeRequest(payload []byte, _ string, q *wire.Request) error {
	r, err := openNative(payload, requestFields)
	if err != nil {
		return err
	}
	r.string(&q.ID)
	op := r.small()
	r.string(&q.Origin)
	bits := r.bits()
	q.ByID, q.Close = bits&bitByID != 0, bits&bitClose != 0
	q.Detail, q.NoReply, q.CountOnly = bits&bitDetail != 0, bits&bitNoReply != 0, bits&bitCount != 0
	r.strings(&q.Rooms)
	r.strings(&q.Except)
	r.string(&q.Member)
	r.strings(&q.Targets)
	var ms uint64
	r.uint(&ms)
	q.Timeout = time.Duration(min(ms, uint64(time.Hour/time.Millisecond))) * time.Millisecond
	q.Flags = wire.Flags(r.bits())
	q.HeaderDropped = r.header(&q.Header)
	r.bytes(&q.Payload)
	r.all(requestFields, &q.All)
	r.page(&q.Page, &q.After)
	if r.err == nil && (op == 0 || op > uint8(wire.OpBroadcast)) {
		return fmt.Errorf("native operation %d: %w", op, wire.ErrIgnored)
	}
	q.Op, q.Native = wire.Op(op), true
	return r.err
}

func (nativeCodec) AppendResponse(dst []byte, _ string, p *wire.Response) ([]byte, error) {
	bits := uint64(0)
	for i, set := range [...]bool{p.NotFound, p.Ack, p.Busy, p.More, p.Rest, p.Ask} {
		if set {
			bits |= 1 << i
		}
	}
	dst = msgpack.AppendArrayLen(dst, 10)
	dst = msgpack.AppendInt(dst, nativeVersion)
	dst = msgpack.AppendString(dst, p.RequestID)
	dst = msgpack.AppendString(dst, p.Node)
	dst = msgpack.AppendUint(dst, bits)
	dst = msgpack.AppendUint(dst, uint64(max(p.Count, 0)))
	dst = appendStrings(dst, p.Rooms)
	if len(p.Members) == 0 {
		dst = msgpack.AppendNil(dst)
	} else {
		dst = msgpack.AppendArrayLen(dst, len(p.Members))
		for _, m := range p.Members {
			dst = msgpack.AppendArrayLen(dst, 3)
			dst = msgpack.AppendString(dst, m.ID)
			dst = appendStrings(dst, m.Rooms)
			if p.Brief > 0 {
				m.Data = nil
			}
			dst = appendOptional(dst, m.Data)
		}
	}
	dst = appendOptional(dst, p.Payload)
	dst = msgpack.AppendString(dst, p.Err)
	return appendHeader(dst, p.Header), nil
}

func (nativeCodec) DecodeResponse(payload []byte, _ string, p *wire.Response) error {
	r, err := openNative(payload, 10)
	if err != nil {
		return err
	}
	r.string(&p.RequestID)
	r.string(&p.Node)
	bits := r.bits()
	p.NotFound, p.Ack, p.Busy = bits&bitNotFound != 0, bits&bitAck != 0, bits&bitBusy != 0
	p.More, p.Rest, p.Ask = bits&bitMore != 0, bits&bitRest != 0, bits&bitAsk != 0
	var count uint64
	r.uint(&count)
	p.Count = int(min(count, 1<<31))
	p.Rooms, p.Members = []string{}, []wire.MemberInfo{} // an empty list is a list
	r.strings(&p.Rooms)
	r.members(&p.Members)
	r.optional(&p.Payload)
	r.string(&p.Err)
	r.header(&p.Header)
	return r.err
}

func appendStrings(dst []byte, list []string) []byte {
	if len(list) == 0 {
		return msgpack.AppendNil(dst)
	}
	dst = msgpack.AppendArrayLen(dst, len(list))
	for _, s := range list {
		dst = msgpack.AppendString(dst, s)
	}
	return dst
}

func appendAll(dst []byte, all []string) []byte {
	if len(all) == 0 {
		return dst
	}
	return appendStrings(dst, all)
}

func appendOptional(dst, b []byte) []byte {
	if b == nil {
		return msgpack.AppendNil(dst)
	}
	return msgpack.AppendBytes(dst, b)
}

func appendHeader(dst []byte, h wire.Header) []byte {
	if len(h) == 0 {
		return msgpack.AppendNil(dst)
	}
	dst = msgpack.AppendMapLen(dst, len(h))
	for k, v := range h {
		dst = msgpack.AppendString(dst, k)
		dst = msgpack.AppendString(dst, v)
	}
	return dst
}

// nativeReader reads one field after the other. After an error it keeps that error and reads no further.
type nativeReader struct {
	msgpack.Reader
	fields int // elements of the message
	err    error
}

func openNative(payload []byte, fields int) (r nativeReader, err error) {
	r.Reader = msgpack.NewReader(payload)
	n, err := r.ArrayLen()
	if err != nil {
		return r, err
	}
	version, err := r.Int()
	if err != nil {
		return r, err
	}
	if version < nativeVersion || n < fields {
		return r, fmt.Errorf("%w: version %d with %d elements", errNative, version, n)
	}
	r.fields = n
	return r, nil
}

func (r *nativeReader) string(to *string) {
	if r.err == nil {
		*to, r.err = r.String()
	}
}

func (r *nativeReader) bytes(to *[]byte) {
	if r.err == nil {
		*to, r.err = r.Bytes()
	}
}

func (r *nativeReader) optional(to *[]byte) {
	if r.err == nil && r.TryNil() {
		*to = nil
		return
	}
	r.bytes(to)
}

func (r *nativeReader) uint(to *uint64) {
	if r.err == nil {
		*to, r.err = r.Uint()
	}
}

func (r *nativeReader) small() uint8 {
	var v uint64
	r.uint(&v)
	return uint8(min(v, 255))
}

// bits reads a set of flags. Flags that this version does not know are dropped.
func (r *nativeReader) bits() uint8 {
	var v uint64
	r.uint(&v)
	return uint8(v)
}

func (r *nativeReader) list() int {
	if r.err != nil || r.TryNil() {
		return 0
	}
	n, err := r.ArrayLen()
	r.err = err
	return n
}

func (r *nativeReader) strings(to *[]string) {
	n := r.list() // no more than the bytes left
	*to = slices.Grow((*to)[:0], n)
	for ; n > 0 && r.err == nil; n-- {
		var s string
		if r.string(&s); r.err == nil {
			*to = append(*to, s)
		}
	}
}

// all reads the list after the first fields elements, if there is one.
func (r *nativeReader) all(fields int, to *[]string) {
	*to = (*to)[:0]
	switch {
	case r.fields <= fields || r.err != nil:
	case r.Kind() == msgpack.Array:
		r.strings(to)
	default:
		r.err = r.Skip()
	}
}

// page reads what follows all in a request, if that is there.
func (r *nativeReader) page(bytes *int, after *string) {
	*bytes, *after = 0, ""
	if r.fields < requestFields+3 || r.err != nil || r.Kind() != msgpack.Int {
		return
	}
	var n uint64
	r.uint(&n)
	*bytes = int(min(n, 1<<30))
	r.string(after)
}

func (r *nativeReader) members(to *[]wire.MemberInfo) {
	n := r.list()
	*to = slices.Grow((*to)[:0], min(n, r.Len()/4)) // each takes that much
	for ; n > 0 && r.err == nil; n-- {
		var m wire.MemberInfo
		fields := r.list()
		if r.err == nil && fields < 3 {
			r.err = fmt.Errorf("%w: member with %d elements", errNative, fields)
			return
		}
		r.string(&m.ID)
		r.strings(&m.Rooms)
		r.optional(&m.Data)
		for ; fields > 3 && r.err == nil; fields-- {
			r.err = r.Skip()
		}
		if r.err == nil {
			*to = append(*to, m)
		}
	}
}

// header reads a header. A defect of the header never loses the message: entries beyond MaxHeader, entries that are
// not text, and duplicates are dropped and counted.
func (r *nativeReader) header(to *wire.Header) (dropped int) {
	*to = nil
	if r.err != nil || r.TryNil() {
		return 0
	}
	if r.Kind() != msgpack.Map {
		r.err = r.Skip()
		return 1
	}
	n, err := r.MapLen()
	r.err = err
	size := 0
	for ; n > 0 && r.err == nil; n-- {
		k, ok := r.text()
		v, ok2 := r.text()
		if r.err != nil {
			return dropped
		}
		size += len(k) + len(v)
		_, twice := (*to)[k]
		if !ok || !ok2 || twice || size > wire.MaxHeader {
			dropped++
			continue
		}
		if *to == nil {
			*to = make(wire.Header)
		}
		(*to)[k] = v
	}
	return dropped
}

// text reads a string, or skips a value of another type.
func (r *nativeReader) text() (s string, ok bool) {
	if r.err != nil {
		return "", false
	}
	if r.Kind() != msgpack.String {
		r.err = r.Skip()
		return "", false
	}
	r.string(&s)
	return s, r.err == nil
}
