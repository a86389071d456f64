package natsbroker

import (
	"encoding/binary"

	"github.com/crossroom/crossroom/broker"
)

// A message is a frame before the payload:
//
//	kind   1 byte   1, or 2 if names follow
//	from   7 bytes  the publishing broker, at random
//	seq    8 bytes  counts its messages, from 1, big-endian
//	names           in kind 2: namespace and name, each a varint length and bytes
//
// From and seq tell one message from another, however many copies the server sends
// because several filters of a subscription match, and whichever server it came by.
const (
	frameHead  = 16
	framePlain = 1
	frameNamed = 2

	// frameReserve is what a frame may take: both names at their longest.
	frameReserve = 16 << 10
)

// frame is what stands before a payload.
type frame struct {
	from  uint64 // with the kind cut off
	seq   uint64
	named bool
	ns    string
	name  string
}

// appendFrame appends a frame. names is what appendNames made, or empty.
func appendFrame(dst []byte, from, seq uint64, names []byte) []byte {
	kind := uint64(framePlain)
	if len(names) > 0 {
		kind = frameNamed
	}
	dst = binary.BigEndian.AppendUint64(dst, kind<<56|from&(1<<56-1))
	dst = binary.BigEndian.AppendUint64(dst, seq)
	return append(dst, names...)
}

// appendNames appends the names of a channel of which one goes as a hash.
func appendNames(dst []byte, ch broker.Channel) []byte {
	for _, s := range [...]string{ch.Namespace(), ch.Name()} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// readFrame splits what has arrived. It reports false for what is no frame.
func readFrame(data []byte) (f frame, payload []byte, ok bool) {
	if len(data) < frameHead {
		return f, nil, false
	}
	head := binary.BigEndian.Uint64(data)
	f.from, f.seq = head&(1<<56-1), binary.BigEndian.Uint64(data[8:])
	if f.seq == 0 {
		return f, nil, false
	}
	// Nobody can append to a payload in place of what comes after it.
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

// channel gives the channel that has the frame's names and is like ch in all else.
func (f *frame) channel(ch broker.Channel) broker.Channel {
	return ch.Protocol().Channel(ch.Kind(), f.ns, f.name)
}
