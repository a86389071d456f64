package natsbroker

import (
	"encoding/binary"

	"github.com/crossroom/crossroom/broker"
)

// A message has a frame before its payload:
//
//	kind   1 byte   1, or 2 if names follow
//	from   7 bytes  id of the connection of the publishing broker (see identity)
//	seq    8 bytes  number of the message at that broker, from 1, big-endian
//	names           in kind 2: namespace and name, each a varint length and bytes
//
// A subscription gets a copy for each filter that matches. The frame tells copies from messages with
// the same payload.
const (
	frameHead  = 16
	framePlain = 1
	frameNamed = 2

	// frameReserve is the largest size of a frame in bytes: both names have their longest form.
	frameReserve = 16 << 10
)

// frame is the head of a message, before its payload.
type frame struct {
	from  uint64 // without the kind
	seq   uint64
	named bool
	ns    string
	name  string
}

// appendFrame appends a frame to dst. names is empty or the result of appendNames.
func appendFrame(dst []byte, from, seq uint64, names []byte) []byte {
	kind := uint64(framePlain)
	if len(names) > 0 {
		kind = frameNamed
	}
	dst = binary.BigEndian.AppendUint64(dst, kind<<56|from&idMask)
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return append(dst, names...)
}

// setFrom changes the id in a frame.
func setFrom(data []byte, from uint64) {
	binary.BigEndian.PutUint64(data, uint64(data[0])<<56|from&idMask)
}

// appendNames appends the names of a channel whose subject has a hash in place of a name.
func appendNames(dst []byte, ch broker.Channel) []byte {
	for _, s := range [...]string{ch.Namespace(), ch.Name()} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// readFrame splits data into frame and payload. It returns false if data has no frame.
func readFrame(data []byte) (f frame, payload []byte, ok bool) {
	if len(data) < frameHead {
		return f, nil, false
	}
	head := binary.BigEndian.Uint64(data)
	f.from, f.seq = head&idMask, binary.BigEndian.Uint64(data[8:])
	if f.seq == 0 {
		return f, nil, false
	}
	// The capacity ends with the payload, so that appending to it does not overwrite other data.
	data = data[frameHead:len(data):len(data)]
	switch head >> 56 {
	case framePlain:
		return f, data, true
	case frameNamed:
		f.named = true
		if f.ns, data, ok = readName(data); !ok {
			return f, nil, false
		}
		f.name, data, ok = readName(data)
		return f, data, ok
	}
	return f, nil, false
}

func readName(data []byte) (name string, rest []byte, ok bool) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > broker.MaxNameLen || int(n) > len(data)-size {
		return "", nil, false
	}
	data = data[size:]
	return string(data[:n]), data[n:], true
}

// channel returns a channel with the frame's names, and with the protocol and kind of ch.
func (f *frame) channel(ch broker.Channel) broker.Channel {
	return ch.Protocol().Channel(ch.Kind(), f.ns, f.name)
}
