package adapter

import (
	"strconv"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/internal/msgpack"
)

// Packets of a realtime server to one client, without the fleet: events of its own, and acknowledgements.

// NewPacket makes an event for one client of this server: write its Frames, or AckFrames if the client should
// acknowledge. Nothing is sent. (Emitting to the room of a socket's id also reaches all other sockets in that room.)
// Arguments are those of Operator.Emit. The errors are an *ArgumentError and, for the event's name, a
// *backplane.NameError. Keys, and the number of binary values, are not checked.
func (ns *Namespace) NewPacket(event string, args ...any) (*Packet, error) {
	payload, _, err := appendEvent(nil, event, args)
	if err != nil {
		return nil, err
	}
	return &Packet{ns: ns, msg: backplane.Message{Namespace: ns.name, Payload: payload}}, nil
}

// AnswerFrames encodes the acknowledgement of a client's event with this acknowledgement id. Arguments are encoded
// like those of Operator.Emit; an *ArgumentError reports one that cannot be. Nothing is sent.
func (ns *Namespace) AnswerFrames(id uint64, args ...any) (Frames, error) {
	payload := msgpack.AppendArrayLen(nil, len(args))
	for i, arg := range args {
		var err error
		if payload, _, err = msgpack.AppendValue(payload, arg); err != nil {
			return Frames{}, &ArgumentError{Index: i, Err: err}
		}
	}
	var f Frames
	text, err := msgpack.AppendJSON(nil, payload, func(bin []byte) int {
		f.Attachments = append(f.Attachments, bin)
		return len(f.Attachments) - 1
	})
	if err != nil {
		return Frames{}, err
	}
	f.Engine = append(f.Engine, engineMessage)
	if n := len(f.Attachments); n == 0 {
		f.Engine = append(f.Engine, frameAck)
	} else {
		f.Engine = append(strconv.AppendInt(append(f.Engine, frameBinaryAck), int64(n), 10), '-')
	}
	if ns.name != "/" {
		f.Engine = append(append(f.Engine, ns.name...), ',')
	}
	f.Engine = append(strconv.AppendUint(f.Engine, id, 10), text...)
	f.Text = f.Engine[1:]
	return f, nil
}

const (
	frameAck       = '3'
	frameBinaryAck = '6'
)
