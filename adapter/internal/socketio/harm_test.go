package socketio

import (
	"errors"
	"testing"

	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// TestCodecRefusesHarm checks content that only other programs write: acknowledgements of
// clients, and events that a bridge passes on.
func TestCodecRefusesHarm(t *testing.T) {
	proto := pack(t, map[string]any{"a": map[string]any{"__proto__": 1}})
	for _, native := range []bool{false, true} {
		ask := &wire.Request{Op: wire.OpBroadcast, ID: "1", Origin: "asker", Native: native}
		_, err := newCodec(V6).AppendResponse(nil, "/", &wire.Response{Request: ask, RequestID: "1", Ack: true, Payload: proto})
		var harm *HarmError
		if refused := errors.As(err, &harm); refused == native || refused && harm.Path != "args[0].a.__proto__" {
			t.Errorf("acknowledgement, requested by a Go node: %v: %v", native, err)
		}
	}
	for data, want := range map[string]string{
		"\x90": "payload", "\x91\xc0": "payload", "\x91\xaadisconnect": "event", "\x91\xadconnect_error": "event",
		"\x92\xa1e\x81\x91\xa9__proto__\x80": "args[0]", "\x92\xa1e\x91\xc7\x05\xff12345": "args[0][0]",
		"\x93\xa1e\xc4\x01a\x81\xaehasOwnProperty\xc0": "args[1].hasOwnProperty",
		"\x91\x01": "", "\x91\xa5error": "", "\x92\xa1e\x82\xc0\x01\x01\x02": "", "\x92\xa1e\xd6\xff\x00\x00\x00\x01": "",
	} {
		for _, only := range []bool{false, true} {
			c := newCodec(V6)
			c.opts.OnlyCrossroom = only
			_, err := c.AppendBroadcast(nil, "/", &wire.Broadcast{Origin: "o", Payload: msgpack.Raw(data)})
			var harm *HarmError
			var reserved *NameError
			var message *MessageError
			got := ""
			switch {
			case errors.As(err, &harm):
				got = harm.Path
			case errors.As(err, &reserved):
				got = "event"
			case errors.As(err, &message):
				got = "payload"
			}
			if always := want == "payload" || want == "event"; got != want && (!only || always) || only && !always && err != nil {
				t.Errorf("%x, only Crossroom nodes: %v: %v; want %q", data, only, err, want)
			}
		}
	}
}
