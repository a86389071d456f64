package membership

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// Crossroom nodes announce themselves to each other in small frames, on the control channel of all nodes (A), on that
// of one node (O), or on either (*):
//
//	         [1, kind, id, since, revision, body, number, …]
//	hello  A  body: namespaces, or nil if they do not fit
//	full   *  body: namespaces; then part, number of parts, and [id, …] of the sender's
//	          neighbours, or nil while it may not know all nodes itself
//	beat   *
//	ask    O  then since and revision of the list that the sender has, zero for none
//	bye    A
//	change A  body: added namespaces; then base, [namespace, …] removed
//	seen   O  then since and revision of the recipient's list
//	accuse *  then [[id, since, silence], …] of nodes that seem lost; silence is in nanoseconds
//
// The frames full, ask and seen end with two tokens: one that the receiver returns, and the one that the receiver sent
// before, zero for none. A node that returns the token of its own channel has proved that it listens there.
//
// A namespace is [protocol, name, speaks]. The entry of a node that is about to leave has protocol "leaving" and an empty
// name. id is the sender's. since is when the sender was made, in nanoseconds of
// Unix time, and distinguishes two lives of one id. revision counts the changes of the sender's list of namespaces.
// The rest of a body is nil. number counts the sender's frames to all nodes, for its own lease; in other frames it is
// zero.
type frameKind uint8

const (
	// kindHello: the sender has started, or its link was restored. Every node responds with full.
	kindHello frameKind = iota + 1
	// kindFull: a part of the list of namespaces at that revision. The response to hello and ask.
	kindFull
	// kindBeat: a sign of life, with the revision of the sender's list. It goes to the watchers of the sender, to the
	// sender itself, and at times to all nodes.
	kindBeat
	// kindAsk: the node on whose channel this comes must send full to the sender, or seen, if its list is the one that
	// the sender has.
	kindAsk
	// kindBye: the sender leaves.
	kindBye
	// kindChange: the changes from the list of revision base to that of revision revision.
	kindChange
	// kindSeen: the sender knows the recipient, and its list at that revision. Nodes send it where the broker cannot
	// count.
	kindSeen
	// kindAccuse: these nodes sent no sign of life. It goes to all nodes, or from a node that received one to the
	// accused node. An accused node sends a beat to all.
	kindAccuse
)

const frameVersion = 1

type frame struct {
	version    int // of a decoded frame
	kind       frameKind
	id         string
	since      int64
	revision   uint64
	number     uint64
	namespaces []served
	listed     bool // hello: namespaces is the whole list

	part, parts int      // full
	neighbours  []string // full: up to maxNeighbours
	settled     bool     // full: there are no other nodes that the sender does not know

	base    uint64   // change
	removed []served // change

	accused []accusation // accuse

	yourSince    int64  // seen, ask
	yourRevision uint64 // seen, ask

	token, echo uint64 // full, ask and seen, to one node
}

// Namespace identifies a namespace. The same name may exist in several protocols.
type Namespace struct {
	Protocol broker.Protocol
	Name     string
}

// leaving is the entry of a node's list that says that the node is about to leave the fleet. It is no namespace. As an
// entry it reaches nodes that join later, and those that missed a frame.
var leaving = Namespace{Protocol: broker.NewProtocol("leaving")}

// served is a namespace of a node, and the Hello of its codec.
type served struct {
	Namespace
	Speaks string
}

const (
	maxNeighbours = 2
	maxParts      = 1 << 16
	maxNodeID     = 128
	maxAccused    = maxPeers // nodes in one frame
)

func (f *frame) append(dst []byte) []byte {
	size := 7
	switch f.kind {
	case kindFull:
		size = 12
	case kindSeen, kindAsk:
		size = 11
	case kindChange:
		size = 9
	case kindAccuse:
		size = 8
	}
	dst = msgpack.AppendArrayLen(dst, size)
	dst = msgpack.AppendInt(dst, frameVersion)
	dst = msgpack.AppendInt(dst, int64(f.kind))
	dst = msgpack.AppendString(dst, f.id)
	dst = msgpack.AppendInt(dst, f.since)
	dst = msgpack.AppendUint(dst, f.revision)
	switch {
	case f.kind == kindFull || f.kind == kindChange || f.kind == kindHello && f.listed:
		dst = appendServed(dst, f.namespaces)
	default:
		dst = msgpack.AppendNil(dst)
	}
	dst = msgpack.AppendUint(dst, f.number)
	switch f.kind {
	case kindFull:
		dst = msgpack.AppendInt(dst, int64(f.part))
		dst = msgpack.AppendInt(dst, int64(f.parts))
		if f.settled {
			dst = msgpack.AppendArrayLen(dst, len(f.neighbours))
			for _, id := range f.neighbours {
				dst = msgpack.AppendString(dst, id)
			}
		} else {
			dst = msgpack.AppendNil(dst)
		}
		dst = msgpack.AppendUint(msgpack.AppendUint(dst, f.token), f.echo)
	case kindChange:
		dst = msgpack.AppendUint(dst, f.base)
		dst = appendServed(dst, f.removed)
	case kindSeen, kindAsk:
		dst = msgpack.AppendInt(dst, f.yourSince)
		dst = msgpack.AppendUint(dst, f.yourRevision)
		dst = msgpack.AppendUint(msgpack.AppendUint(dst, f.token), f.echo)
	case kindAccuse:
		dst = msgpack.AppendArrayLen(dst, len(f.accused))
		for _, a := range f.accused {
			dst = msgpack.AppendArrayLen(dst, 3)
			dst = msgpack.AppendString(dst, a.id)
			dst = msgpack.AppendInt(dst, a.since)
			dst = msgpack.AppendInt(dst, int64(a.silent))
		}
	}
	return dst
}

// Sender returns the id of the node that a control frame says it is from; empty if it is unreadable.
func Sender(payload []byte) string {
	var f frame
	if f.decode(payload) != nil {
		return ""
	}
	return f.id
}

func appendServed(dst []byte, list []served) []byte {
	dst = msgpack.AppendArrayLen(dst, len(list))
	for _, s := range list {
		dst = msgpack.AppendArrayLen(dst, 3)
		dst = msgpack.AppendString(dst, s.Protocol.String())
		dst = msgpack.AppendString(dst, s.Name)
		dst = msgpack.AppendString(dst, s.Speaks)
	}
	return dst
}

// size returns the least size of an accusation in a frame.
func (a accusation) size() int { return len(a.id) + 24 }

// size returns the least size of a namespace in a frame.
func (s served) size() int {
	return len(s.Protocol.String()) + len(s.Name) + len(s.Speaks) + 12
}

var (
	errFrame = errors.New("not a control frame")
	// errLater: a kind of frame of a later version.
	errLater = errors.New("a later version")
)

// maxAhead limits how far a node's clock may be ahead of this one's. A frame of a later life is ignored. Otherwise a
// forged frame would make all of a node's own frames outdated.
const maxAhead = 24 * time.Hour

// decode reads a frame. Later versions may add elements at the end of the frame and of a namespace's entry.
func (f *frame) decode(payload []byte) error {
	r := msgpack.NewReader(payload)
	n, err := r.ArrayLen()
	if err != nil {
		return err
	}
	if n < 6 {
		return errFrame
	}
	version, err := r.Int()
	if err != nil {
		return err
	}
	if version < frameVersion || version > math.MaxInt32 {
		return fmt.Errorf("%w: version %d", errFrame, version)
	}
	f.version = int(version)
	kind, err := r.Uint()
	if err != nil {
		return err
	}
	if kind == 0 || kind > uint64(kindAccuse) {
		return fmt.Errorf("%w: kind %d", errLater, kind)
	}
	f.kind = frameKind(kind)
	if f.id, err = readNodeID(&r); err != nil {
		return err
	}
	if f.since, err = r.Int(); err != nil {
		return err
	}
	if f.since <= 0 || f.since > time.Now().Add(maxAhead).UnixNano() {
		return fmt.Errorf("%w: node start at %d ns of Unix time", errFrame, f.since)
	}
	if f.revision, err = r.Uint(); err != nil {
		return err
	}
	f.listed = !r.TryNil()
	if f.listed {
		if f.namespaces, err = readServed(&r); err != nil {
			return err
		}
	}
	n -= 6
	if n > 0 && r.Kind() == msgpack.Int {
		f.number, _ = r.Uint()
		n--
	} else {
		n = 0 // of a later version
	}
	return f.decodeRest(&r, n)
}

// decodeRest reads the n elements after the number.
func (f *frame) decodeRest(r *msgpack.Reader, n int) (err error) {
	switch f.kind {
	case kindFull:
		f.parts = 1
		if n < 3 {
			return nil
		}
		part, err := r.Uint()
		if err != nil {
			return err
		}
		parts, err := r.Uint()
		if err != nil {
			return err
		}
		if part >= parts || parts > maxParts {
			return fmt.Errorf("%w: part %d of %d", errFrame, part, parts)
		}
		f.part, f.parts = int(part), int(parts)
		if f.settled = !r.TryNil(); f.settled {
			count, err := r.ArrayLen()
			if err != nil {
				return err
			}
			for i := range count {
				id, err := readNodeID(r)
				if err != nil {
					return err
				}
				if i < maxNeighbours {
					f.neighbours = append(f.neighbours, strings.Clone(id))
				}
			}
		}
		f.readTokens(r, n-3)
	case kindChange:
		if n < 2 {
			return errFrame
		}
		if f.base, err = r.Uint(); err != nil {
			return err
		}
		if f.base >= f.revision {
			return fmt.Errorf("%w: a change from revision %d to %d", errFrame, f.base, f.revision)
		}
		f.removed, err = readServed(r)
	case kindAsk, kindSeen:
		if n < 2 {
			return errFrame
		}
		if f.yourSince, err = r.Int(); err != nil {
			return err
		}
		if f.yourRevision, err = r.Uint(); err == nil {
			f.readTokens(r, n-2)
		}
	case kindAccuse:
		if n < 1 {
			return errFrame
		}
		f.accused, err = readAccused(r)
	}
	return err
}

// readTokens reads the tokens, if there are any among the last n elements.
func (f *frame) readTokens(r *msgpack.Reader, n int) {
	if n >= 2 && r.Kind() == msgpack.Int {
		f.token, _ = r.Uint()
		f.echo, _ = r.Uint()
	}
}

func readAccused(r *msgpack.Reader) ([]accusation, error) {
	count, err := r.ArrayLen()
	if err != nil {
		return nil, err
	}
	list := make([]accusation, 0, min(count, maxAccused, r.Len()/8))
	for range min(count, maxAccused) {
		n, err := r.ArrayLen()
		if err != nil {
			return nil, err
		}
		if n < 3 {
			return nil, errFrame
		}
		var a accusation
		if a.id, err = readNodeID(r); err != nil {
			return nil, err
		}
		if a.since, err = r.Int(); err != nil {
			return nil, err
		}
		silent, err := r.Int()
		if err != nil {
			return nil, err
		}
		a.silent = time.Duration(silent)
		for range n - 3 {
			if err := r.Skip(); err != nil {
				return nil, err
			}
		}
		list = append(list, a)
	}
	return list, nil
}

func readNodeID(r *msgpack.Reader) (string, error) {
	id, err := r.String()
	if err == nil && (id == "" || len(id) > maxNodeID) {
		err = fmt.Errorf("%w: id of %d bytes", errFrame, len(id))
	}
	return id, err
}

func readServed(r *msgpack.Reader) ([]served, error) {
	count, err := r.ArrayLen()
	if err != nil {
		return nil, err
	}
	list := make([]served, 0, min(count, r.Len()/4))
	for range count {
		s, err := decodeServed(r)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func decodeServed(r *msgpack.Reader) (s served, err error) {
	n, err := r.ArrayLen()
	if err != nil {
		return s, err
	}
	if n < 3 {
		return s, errFrame
	}
	protocol, err := r.String()
	if err != nil {
		return s, err
	}
	if s.Protocol = broker.NewProtocol(protocol); s.Protocol == (broker.Protocol{}) {
		return s, errFrame
	}
	if s.Name, err = r.String(); err != nil {
		return s, err
	}
	if s.Speaks, err = r.String(); err != nil {
		return s, err
	}
	for range n - 3 {
		if err := r.Skip(); err != nil {
			return s, err
		}
	}
	return s, nil
}
