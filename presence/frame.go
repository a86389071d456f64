package presence

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// Frames are MessagePack arrays. The first element is the version of the layout; later versions add elements at the end.
// Epoch, number and sum are the sender's, except in request: there they say what the sender has of the receiver, and what it
// has heard of it from another node. The sum of a number is that of all changes up to it.
//
//	changes   [1, 1, epoch, base, [change…], sum]  base is the number before the first change; sum is that of the last one
//	state     [1, 2, epoch, number, digest, sum]   digest of all that the sender knows; 0: none
//	request   [1, 3, epoch, number, heard]         epoch 0: the sender needs everything; heard is nil or [epoch, number, sum]
//	snapshot  [1, 4, epoch, number, id, part, last, [change…], sum]
//	bye       [1, 5, epoch, number]
//	versions  [1, 6, epoch, number, [[node, epoch, number, sum]…]]
//	change    [left, room, id, user, state]
type frameKind uint64

const (
	frameChanges frameKind = iota + 1
	frameState
	frameRequest
	frameSnapshot
	frameBye
	frameVersions
)

const (
	frameVersion = 1
	// frameBytes ends a list of changes or versions. One entry may follow.
	frameBytes = 48 << 10
	// maxFrame is the size that no frame exceeds. A larger one is not read.
	maxFrame = 64 << 10
	// maxNumber keeps sums of numbers in range, whatever a peer sends.
	maxNumber = 1 << 62
)

type frame struct {
	kind          frameKind
	epoch, number uint64
	digest        uint64
	sum           uint64
	heard         *version
	id, part      uint64
	last          bool
	list          []change
	versions      []version
	size          int // of the list in memory
}

// change is an entry of a log, a frame or a snapshot. Its member is never changed.
type change struct {
	left   bool
	key    key
	member *Member
	sum    uint64 // of the own changes up to this one
}

func (c *change) size() int { return c.member.size(c.key.room) }

// after returns the sum of the changes up to c, which follows those with the given sum. So two nodes with the same number and
// sum have applied the same changes.
func (c *change) after(sum uint64) uint64 {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 256), sum)
	b = append(b, byte(bit(c.left)))
	for _, name := range []string{c.key.room, c.key.id, c.member.User} {
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	}
	hash := sha256.Sum256(append(b, c.member.State...))
	return binary.BigEndian.Uint64(hash[:])
}

// version is what a node has of another one.
type version struct {
	node               string
	epoch, number, sum uint64
}

func (v *version) size() int { return len(v.node) + 34 }

func (v *version) append(dst []byte) []byte {
	return msgpack.AppendUint(msgpack.AppendUint(msgpack.AppendUint(dst, v.epoch), v.number), v.sum)
}

var errFrame = errors.New("not a message of presence")

// fitting returns how many entries of a list fit into a frame: at least one, if there is one.
func fitting[E any](list []E, sizeOf func(*E) int) (n int) {
	for size := 0; n < len(list) && size < frameBytes; n++ {
		size += sizeOf(&list[n])
	}
	return n
}

// append encodes a frame with as much of its list as fits. It returns how many entries that is.
func (f *frame) append(dst []byte) ([]byte, int) {
	n := fitting(f.list, (*change).size)
	fields := map[frameKind]int{frameChanges: 6, frameState: 6, frameRequest: 5, frameSnapshot: 9, frameBye: 4, frameVersions: 5}[f.kind]
	dst = msgpack.AppendArrayLen(dst, fields)
	for _, v := range []uint64{frameVersion, uint64(f.kind), f.epoch, f.number} {
		dst = msgpack.AppendUint(dst, v)
	}
	switch f.kind {
	case frameState:
		return msgpack.AppendUint(msgpack.AppendUint(dst, f.digest), f.sum), 0
	case frameRequest:
		if f.heard == nil {
			return msgpack.AppendNil(dst), 0
		}
		return f.heard.append(msgpack.AppendArrayLen(dst, 3)), 0
	case frameVersions:
		n = fitting(f.versions, (*version).size)
		dst = msgpack.AppendArrayLen(dst, n)
		for _, v := range f.versions[:n] {
			dst = msgpack.AppendString(msgpack.AppendArrayLen(dst, 4), v.node)
			dst = v.append(dst)
		}
		return dst, n
	case frameSnapshot:
		dst = msgpack.AppendUint(msgpack.AppendUint(dst, f.id), f.part)
		dst = msgpack.AppendUint(dst, bit(n == len(f.list)))
	case frameChanges:
	default:
		return dst, 0
	}
	dst = msgpack.AppendArrayLen(dst, n)
	for _, c := range f.list[:n] {
		dst = msgpack.AppendUint(msgpack.AppendArrayLen(dst, 5), bit(c.left))
		dst = msgpack.AppendString(msgpack.AppendString(dst, c.key.room), c.key.id)
		dst = msgpack.AppendBytes(msgpack.AppendString(dst, c.member.User), c.member.State)
	}
	sum := f.sum
	if f.kind == frameChanges && n > 0 {
		sum = f.list[n-1].sum
	}
	return msgpack.AppendUint(dst, sum), n
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// reader keeps its first error.
type reader struct {
	msgpack.Reader
	err error
}

func (r *reader) uint() (v uint64) {
	if r.err == nil {
		v, r.err = r.Uint()
	}
	return v
}

func (r *reader) array(atLeast int) (n int) {
	if r.err == nil {
		n, r.err = r.ArrayLen()
	}
	if r.err == nil && n < atLeast {
		r.err = errFrame
	}
	return n
}

// text returns a copy: a member outlives its message.
func (r *reader) text() string {
	var s string
	if r.err == nil {
		s, r.err = r.String()
	}
	return strings.Clone(s)
}

// decode reads a frame. The result shares nothing with payload.
func decode(payload []byte, from string) (*frame, error) {
	if len(payload) > maxFrame {
		return nil, errFrame
	}
	r := reader{Reader: msgpack.NewReader(payload)}
	r.array(4)
	layout := r.uint()
	f := &frame{kind: frameKind(r.uint()), epoch: r.uint(), number: r.uint()}
	if r.err == nil && (layout < frameVersion || f.number > maxNumber) {
		r.err = errFrame
	}
	if r.err != nil {
		return nil, r.err
	}
	switch f.kind {
	case frameBye:
	case frameRequest:
		if r.err == nil && !r.TryNil() {
			fields := r.array(3)
			f.heard = &version{epoch: r.uint(), number: r.uint(), sum: r.uint()}
			r.skip(fields - 3)
		}
	case frameState:
		f.digest, f.sum = r.uint(), r.uint()
	case frameVersions:
		r.versions(f)
	case frameSnapshot:
		f.id, f.part, f.last = r.uint(), r.uint(), r.uint() != 0
		r.changes(f, from)
		f.sum = r.uint()
	case frameChanges:
		r.changes(f, from)
		f.sum = r.uint()
	default:
		return nil, errFrame
	}
	return f, r.err
}

func (r *reader) versions(f *frame) {
	for n := r.array(0); n > 0 && r.err == nil; n-- {
		fields := r.array(4)
		v := version{r.text(), r.uint(), r.uint(), r.uint()}
		r.skip(fields - 4)
		if r.err == nil && v.number > maxNumber {
			r.err = errFrame
		}
		f.versions = append(f.versions, v)
	}
}

func (r *reader) changes(f *frame, from string) {
	for n := r.array(0); n > 0 && r.err == nil; n-- {
		fields := r.array(5)
		left := r.uint() != 0
		m := &Member{Node: from}
		room := r.text()
		m.ID, m.User = r.text(), r.text()
		if r.err == nil {
			var state []byte
			state, r.err = r.Bytes()
			m.State = bytes.Clone(state)
		}
		r.skip(fields - 5)
		if r.err == nil && m.check(room) != nil {
			r.err = errFrame
		}
		f.list = append(f.list, change{left: left, key: key{room, m.ID}, member: m})
		f.size += m.size(room)
	}
}

// skip passes over what a later version of the layout has added.
func (r *reader) skip(n int) {
	for ; n > 0 && r.err == nil; n-- {
		r.err = r.Skip()
	}
}
