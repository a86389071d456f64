package adapter

import (
	"strconv"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// Frames is a packet encoded for clients in the Socket.IO protocol, revision 5 (which is also the form of revision 4):
// a text, and the binary attachments that must follow it in order, if there are any. A WebSocket server sends Engine
// as a text message and each attachment as a binary message.
//
// All sockets share the bytes: they must not be changed.
type Frames struct {
	// Engine is Text as an Engine.IO message packet, that is with a '4' before it.
	Engine []byte
	// Text is the Socket.IO packet: 2 or 5, number of attachments, namespace, acknowledgement id, JSON. Nil if the
	// packet has no such form (see Packet.Err).
	Text []byte
	// Attachments replace the placeholders in Text.
	Attachments [][]byte
}

// Frames returns the packet in its form for clients, encoded once for all sockets.
func (p *Packet) Frames() Frames { return p.clientForm().frames }

// AckFrames returns the packet with an acknowledgement id that your server chose. The client's acknowledgement carries
// the same id. Only the text is copied.
func (p *Packet) AckFrames(id uint64) Frames {
	e := p.clientForm()
	f := e.frames
	if f.Text == nil {
		return f
	}
	engine := make([]byte, 0, len(f.Engine)+20)
	engine = append(engine, f.Engine[:e.ackAt]...)
	engine = strconv.AppendUint(engine, id, 10)
	engine = append(engine, f.Engine[e.ackAt:]...)
	f.Engine, f.Text = engine, engine[1:]
	return f
}

// encoded is a packet in its form for clients.
type encoded struct {
	frames Frames
	ackAt  int // position of an acknowledgement id in frames.Engine
}

func (p *Packet) clientForm() *encoded {
	p.encode.Do(func() { p.encoded = encodePacket(p.msg.Namespace, p.msg.Payload) })
	return p.encoded
}

// https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
const (
	engineMessage    = '4'
	frameEvent       = '2'
	frameBinaryEvent = '5'
)

func encodePacket(namespace string, payload []byte) *encoded {
	scratch := scratchPool.Get().(*scratch)
	defer scratch.release()
	var attachments [][]byte
	text, err := msgpack.AppendJSON(scratch.buf[:0], payload, func(bin []byte) int {
		attachments = append(attachments, bin)
		return len(attachments) - 1
	})
	scratch.buf = text
	if err != nil || len(text) < 3 || text[0] != '[' {
		return &encoded{}
	}
	engine := make([]byte, 0, 24+len(namespace)+len(text))
	if len(attachments) == 0 {
		engine = append(engine, engineMessage, frameEvent)
	} else {
		engine = append(engine, engineMessage, frameBinaryEvent)
		engine = strconv.AppendInt(engine, int64(len(attachments)), 10)
		engine = append(engine, '-')
	}
	if namespace != "/" {
		engine = append(engine, namespace...)
		engine = append(engine, ',')
	}
	ackAt := len(engine)
	engine = append(engine, text...)
	return &encoded{frames: Frames{Engine: engine, Text: engine[1:], Attachments: attachments}, ackAt: ackAt}
}
