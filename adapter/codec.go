package adapter

import (
	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// codec is a *socketio.Codec with the public types of errors.
type codec struct{ *socketio.Codec }

var (
	_ wire.Codec        = codec{}
	_ wire.ForeignPeers = codec{}
)

func newCodec(d Dialect, b broker.Broker, maxAttachments int) codec {
	form := socketio.V6
	if d == V5 {
		form = socketio.V5
	}
	return codec{socketio.New(socketio.Options{
		Dialect: form, Mode: d.mode(), OnlyCrossroom: b.Capabilities().OnlyCrossroom, MaxAttachments: maxAttachments,
	})}
}

// public converts an error of package socketio to its public type.
func public(err error) error {
	switch e := err.(type) {
	case *socketio.HarmError:
		return &HarmError{Path: e.Path, Reason: e.Reason}
	case *socketio.NameError:
		return wire.FromAdapter(&backplane.NameError{What: e.What, Name: e.Name, Reason: e.Reason})
	case *socketio.MixedError:
		return &MixedFleetError{Op: e.Op.String(), Total: e.Total, Responding: e.Responding, Reason: e.Reason}
	}
	return err
}

// AppendBroadcast implements wire.Codec.
func (c codec) AppendBroadcast(dst []byte, ns string, b *wire.Broadcast) ([]byte, error) {
	out, err := c.Codec.AppendBroadcast(dst, ns, b)
	return out, public(err)
}

// AppendRequest implements wire.Codec.
func (c codec) AppendRequest(dst []byte, ns string, r *wire.Request) ([]byte, error) {
	out, err := c.Codec.AppendRequest(dst, ns, r)
	return out, public(err)
}

// AppendResponse implements wire.Codec.
func (c codec) AppendResponse(dst []byte, ns string, r *wire.Response) ([]byte, error) {
	out, err := c.Codec.AppendResponse(dst, ns, r)
	return out, public(err)
}

// Expect implements wire.ForeignPeers.
func (c codec) Expect(ns string, r *wire.Request, p wire.Unannounced) (wire.Expected, error) {
	e, err := c.Codec.Expect(ns, r, p)
	return e, public(err)
}

func (c codec) CheckEvent(op wire.Op, payload []byte, flags wire.Flags) error {
	return public(c.Codec.CheckEvent(op, payload, flags))
}

func (c codec) CheckJoin(rooms []string) error { return public(c.Codec.CheckJoin(rooms)) }

func (c codec) CheckServerEvent(payload []byte) error {
	return public(c.Codec.CheckServerEvent(payload))
}
