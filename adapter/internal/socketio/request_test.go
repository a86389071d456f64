package socketio

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/wire"
)

// The exact text of a Crossroom node's requests, and what another node decodes.
func TestRequestsBetweenNodes(t *testing.T) {
	const v8extra = `"crossroom":{"n":1}}`
	q := func(r wire.Request) wire.Request {
		r.ID, r.Origin, r.Native = "7", "me", true
		return r
	}
	for _, c := range []struct {
		d    Dialect
		r    wire.Request
		want string
		// back makes the decoded request of r, if they differ.
		back func(*wire.Request)
	}{
		{V6, q(wire.Request{Op: wire.OpMembers, Rooms: []string{"a", "7"}, Except: []string{"b"}}),
			`{"uid":"me","requestId":"7","type":5,"opts":{"rooms":["a","7",7],"except":["b"]},"crossroom":{"n":1,"ids":1}}`, nil},
		{V6, q(wire.Request{Op: wire.OpMembers, Rooms: []string{"a", "7"}}),
			`{"uid":"me","requestId":"7","type":0,"rooms":["a","7",7],` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpMembers, Detail: true}),
			`{"uid":"me","requestId":"7","type":5,"opts":{"rooms":[],"except":[]},` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpRoomsOf, ByID: true, Member: "sid"}),
			`{"uid":"me","requestId":"7","type":5,"opts":{"rooms":["sid"],"except":[]},` + v8extra,
			func(r *wire.Request) {
				r.Op, r.ByID, r.Member, r.Rooms, r.Detail = wire.OpMembers, false, "", []string{"sid"}, true
			}},
		{V6, q(wire.Request{Op: wire.OpRooms}), `{"uid":"me","requestId":"7","type":1,` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpJoin, ByID: true, Member: "s", Targets: []string{"7"}}),
			`{"uid":"me","requestId":"7","type":2,"sid":"s","room":"7",` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpLeave, ByID: true, Member: "s", Targets: []string{"r"}}),
			`{"uid":"me","requestId":"7","type":3,"sid":"s","room":"r",` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpDisconnect, ByID: true, Member: "s", Close: true}),
			`{"uid":"me","requestId":"7","type":4,"sid":"s","close":true,` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpJoin, Rooms: []string{"7"}, Targets: []string{"7", "b"}}),
			`{"uid":"me","type":2,"opts":{"rooms":["7",7],"except":[]},"rooms":["7","b"],"crossroom":{"n":1,"id":"7"}}`, nil},
		{V6, q(wire.Request{Op: wire.OpLeave, Except: []string{"x"}, Targets: []string{"7"}}),
			`{"uid":"me","type":3,"opts":{"rooms":[],"except":["x"]},"rooms":["7",7],"crossroom":{"n":1,"id":"7"}}`, nil},
		{V6, q(wire.Request{Op: wire.OpLeave, NoReply: true, Targets: []string{"r"}}),
			`{"uid":"me","type":3,"opts":{"rooms":[],"except":[]},"rooms":["r"],` + v8extra,
			func(r *wire.Request) { r.ID, r.NoReply = "", false }},
		{V6, q(wire.Request{Op: wire.OpDisconnect, Close: true}),
			`{"uid":"me","type":4,"opts":{"rooms":[],"except":[]},"close":true,"crossroom":{"n":1,"id":"7"}}`, nil},
		{V6, q(wire.Request{Op: wire.OpEvent, Payload: []byte(`["e",1]`)}),
			`{"uid":"me","requestId":"7","type":6,"data":["e",1],` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpEvent, NoReply: true, Payload: []byte(`["e"]`)}),
			`{"uid":"me","type":6,"data":["e"],` + v8extra, func(r *wire.Request) { r.ID = "" }},
		{V6, q(wire.Request{Op: wire.OpCustom, Payload: []byte(`{"a":1.0}`)}),
			`{"uid":"me","requestId":"7","type":"crossroom:custom","data":{"a":1.0},` + v8extra, nil},
		{V6, q(wire.Request{Op: wire.OpCustom, Header: wire.Header{"traceparent": "00", "z": "1"}}),
			`{"uid":"me","requestId":"7","type":"crossroom:custom","data":null,"traceparent":"00","crossroom":{"n":1,"h":{"z":"1"}}}`,
			func(r *wire.Request) { r.Payload = []byte("null") }},
		{V6, q(wire.Request{Op: wire.OpBroadcast, Payload: []byte("\x92\xa1e\x01"), Rooms: []string{"7"}, Timeout: time.Second, Flags: wire.NoCompress}),
			`{"uid":"me","requestId":"7","type":7,"packet":{"type":2,"data":["e",1],"nsp":"/"},"opts":{"rooms":["7",7],"except":[],"flags":{"compress":false,"timeout":1000}},` + v8extra, nil},
		{V5, q(wire.Request{Op: wire.OpMembers, Rooms: []string{"7"}}),
			`{"requestid":"7","type":0,"rooms":["7"],"crossroom":{"n":1,"node":"me"}}`, nil},
		{V5, q(wire.Request{Op: wire.OpRoomsOf, ByID: true, Member: "s"}),
			`{"requestid":"7","type":1,"sid":"s","crossroom":{"n":1,"node":"me"}}`, nil},
		{V5, q(wire.Request{Op: wire.OpRooms}), `{"requestid":"7","type":2,"crossroom":{"n":1,"node":"me"}}`, nil},
		{V5, q(wire.Request{Op: wire.OpJoin, ByID: true, Member: "s", Targets: []string{"7"}}),
			`{"requestid":"7","type":3,"sid":"s","room":"7","crossroom":{"n":1,"node":"me"}}`, nil},
		{V5, q(wire.Request{Op: wire.OpLeave, ByID: true, Member: "s", Targets: []string{"r"}}),
			`{"requestid":"7","type":4,"sid":"s","room":"r","crossroom":{"n":1,"node":"me"}}`, nil},
		{V5, q(wire.Request{Op: wire.OpCustom, Payload: []byte(`"x"`)}),
			`{"requestid":"7","type":5,"data":"x","crossroom":{"n":1,"node":"me"}}`, nil},
		{V5, q(wire.Request{Op: wire.OpDisconnect, ByID: true, Member: "s"}),
			`{"requestid":"7","type":6,"sid":"s","close":false,"crossroom":{"n":1,"node":"me"}}`, nil},
	} {
		got, err := newCodec(c.d).AppendRequest(nil, "/", &c.r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s:\n got %s, %v\nwant %s", c.d, c.r.Op, got, err, c.want)
			continue
		}
		var back wire.Request
		if err := newCodec(V6).DecodeRequest(got, "/", &back); err != nil {
			t.Errorf("%s: %v", got, err)
			continue
		}
		want := c.r
		if c.back != nil {
			c.back(&want)
		}
		back.Form = 0
		assert.Equal(t, want, back, "%s", got)
	}
}

// An emitter has no response channel, and expects no responses.
func TestRequestsOfEmitters(t *testing.T) {
	for _, c := range []struct {
		r    wire.Request
		want string
	}{
		{wire.Request{Op: wire.OpJoin, Rooms: []string{"a"}, Targets: []string{"b"}, NoReply: true}, `{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["b"]}`},
		{wire.Request{Op: wire.OpEvent, Origin: "emitter", NoReply: true, Payload: []byte(`["e"]`)}, `{"uid":"emitter","type":6,"data":["e"]}`},
	} {
		got, err := newCodec(V6).AppendRequest(nil, "/", &c.r)
		if assert.NoError(t, err) {
			assert.Equal(t, c.want, string(got))
		}
	}
}

func TestRequestsUnsupported(t *testing.T) {
	all := []wire.Op{wire.OpJoin, wire.OpLeave, wire.OpDisconnect, wire.OpEvent, wire.OpBroadcast}
	for _, op := range all {
		r := wire.Request{ID: "1", Op: op, Targets: []string{"r"}, Payload: []byte("[\"e\"]")}
		out, err := newCodec(V5).AppendRequest([]byte("kept"), "/", &r)
		assert.ErrorIs(t, err, errors.ErrUnsupported, "v5 %s", op)
		assert.Equal(t, "kept", string(out), "v5 %s", op)
	}
	for _, r := range []wire.Request{{Op: wire.OpMembers, Detail: true}, {Op: wire.OpMembers, Except: []string{"a"}}, {Op: 99}, {}} {
		_, err := newCodec(V5).AppendRequest(nil, "/", &r)
		assert.ErrorIs(t, err, errors.ErrUnsupported, "v5 %+v", r)
	}
	_, err := newCodec(V6).AppendRequest(nil, "/", &wire.Request{Op: 99})
	assert.ErrorIs(t, err, errors.ErrUnsupported, "v8")
}

func TestRequestsRefused(t *testing.T) {
	for name, r := range map[string]wire.Request{
		"no target":          {Op: wire.OpJoin, ByID: true, Member: "s"},
		"two targets":        {Op: wire.OpLeave, ByID: true, Member: "s", Targets: []string{"a", "b"}},
		"id UTF-8":           {Op: wire.OpRooms, ID: "\xff"},
		"target UTF-8":       {Op: wire.OpJoin, Targets: []string{"\xff"}},
		"header":             {Op: wire.OpRooms, Header: wire.Header{"\xff": ""}},
		"custom, no JSON":    {Op: wire.OpCustom, Payload: []byte("{")},
		"custom, empty":      {Op: wire.OpCustom, Payload: []byte{}},
		"event, nothing":     {Op: wire.OpEvent},
		"event, no JSON":     {Op: wire.OpEvent, Payload: []byte("[")},
		"event, empty":       {Op: wire.OpEvent, Payload: []byte("[]")},
		"event, no name":     {Op: wire.OpEvent, Payload: []byte("[1]")},
		"event, object":      {Op: wire.OpEvent, Payload: []byte("{}")},
		"broadcast, no data": {Op: wire.OpBroadcast},
		"broadcast, JSON":    {Op: wire.OpBroadcast, Payload: []byte(`["e"]`)},
	} {
		out, err := newCodec(V6).AppendRequest([]byte("kept"), "/", &r)
		var bad *MessageError
		if assert.ErrorAs(t, err, &bad, name) {
			assert.Equal(t, "request", bad.Message, name)
			assert.Equal(t, "kept", string(out), name)
		}
	}
	for name, r := range map[string]wire.Request{
		"no target": {Op: wire.OpJoin, ByID: true, Member: "s"},
		"no JSON":   {Op: wire.OpCustom, Payload: []byte("{")},
	} {
		var bad *MessageError
		_, err := newCodec(V5).AppendRequest(nil, "/", &r)
		assert.ErrorAs(t, err, &bad, "v5, %s", name)
	}
}

func TestRequestsTolerated(t *testing.T) {
	for in, want := range map[string]wire.Request{
		`{"requestId":"1","type":5,"opts":{}}`:                                             {ID: "1", Op: wire.OpMembers, Detail: true, Form: formShared},
		`{ "type" : 5 , "opts" : { "rooms" : null , "x" : 1 } , "requestId" : "1" }`:       {ID: "1", Op: wire.OpMembers, Detail: true, Form: formShared},
		`{"uid":"u","type":2,"opts":{"rooms":[7,"7"]},"rooms":[42,"a","42"]}`:              {Origin: "u", Op: wire.OpJoin, Rooms: []string{"7"}, Targets: []string{"42", "a"}},
		`{"uid":"u","type":2,"opts":null,"sid":"s","room":42}`:                             {Origin: "u", Op: wire.OpJoin, ByID: true, Member: "s", Targets: []string{"42"}},
		`{"uid":"u","type":4,"opts":{}}`:                                                   {Origin: "u", Op: wire.OpDisconnect},
		`{"requestid":null,"type":2}`:                                                      {ID: "null", Op: wire.OpRooms, Form: formV5 | formRawID},
		`{"requestid":"1","requestId":"2","type":5}`:                                       {ID: "1", Op: wire.OpCustom, Form: formV5},
		`{"type":1,"type":6,"data":[],"data":["e"]}`:                                       {Op: wire.OpEvent, NoReply: true, Form: formShared, Payload: []byte(`["e"]`)},
		`{"uid":"u","requestId":"1","type":5,"opts":{"traceparent":"00"},"crossroom":[1]}`: {ID: "1", Origin: "u", Op: wire.OpMembers, Detail: true, Header: wire.Header{"traceparent": "00"}},
		"\x83\xa9requestId\xa11\xa4type\x05\xa4opts\x80":                                   {ID: "1", Op: wire.OpMembers, Detail: true, Form: formShared},
		`{"requestId":"1","type":7,"packet":{"data":["e"],"type":2},"opts":{}}`:            {ID: "1", Op: wire.OpBroadcast, Form: formShared, Payload: []byte("\x91\xa1e")},
		`{"type":7,"packet":{"data":["e"],"type":2},"opts":{"flags":{"timeout":-5}}}`:      {Op: wire.OpBroadcast, Form: formShared, Payload: []byte("\x91\xa1e")},
		`{"requestId":null,"type":7,"packet":{"data":["e"],"type":2},"opts":{"flags":{"timeout":1e300}}}`: {
			ID: "null", Op: wire.OpBroadcast, Form: formShared | formRawID, Payload: []byte("\x91\xa1e"), Timeout: (1<<31 - 1) * time.Millisecond},
	} {
		var got wire.Request
		err := newCodec(V6).DecodeRequest([]byte(in), "/", &got)
		got.Rooms, got.Except, got.Targets = orNil(got.Rooms), orNil(got.Except), orNil(got.Targets)
		if assert.NoError(t, err, in) {
			assert.Equal(t, want, got, in)
		}
	}
}

func orNil(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
}

var hostile = []string{
	"", " ", "null", "[]", "1", `"x"`, "{", `{}`, ` {"type":1}`, `{"type":1}x`, "\xc0", "\x90", "\x80", "\xc1", "\x81", "\xdf\xff\xff\xff\xff", "\x81\xa4type\x07", "\x82\xa4type\x07\x01\x02\x03",
	`{"type":99,"requestId":"1"}`, `{"type":"join"}`, `{"type":null}`, `{"type":1.5}`, `{"type":-1}`, `{"requestid":"1"}`, `{"requestid":"1","type":7}`, `{"requestid":"1","type":"crossroom:custom"}`,
	`{"type":0,"rooms":{}}`, `{"type":2}`, `{"type":2,"sid":null,"room":"r"}`, `{"type":2,"sid":5,"room":"r"}`, `{"type":3,"opts":{},"rooms":"r"}`, `{"type":3,"opts":{"rooms":5},"rooms":[]}`, `{"type":4}`,
	`{"type":5,"requestId":"1"}`, `{"type":6}`, `{"type":6,"requestId":"1"}`, `{"type":6,"data":[]}`, `{"type":6,"data":{}}`,
	`{"type":7}`, `{"type":7,"packet":{"data":["e"],"type":2}}`, `{"type":7,"opts":{}}`, `{"type":7,"packet":null,"opts":{}}`, `{"type":7,"packet":{"data":null,"type":2},"opts":{}}`, `{"type":7,"packet":{"data":["e"],"type":9},"opts":{}}`,
	`{"type":7,"packet":{"data":["e"],"type":5},"opts":{}}`, `{"type":7,"packet":{"data":["e"],"type":""},"opts":{}}`, `{"type":7,"packet":{"data":["e"],"type":"2x"},"opts":{}}`, `{"type":7,"packet":{"data":["e"],"type":"32"},"opts":{}}`,
	`{"type":7,"packet":{"data":["e"],"type":2},"opts":null}`, `{"type":7,"packet":{"data":["connect"],"type":2},"opts":{}}`,
	`{"a":` + strings.Repeat("[", 100_000), "\x81\xa1a" + strings.Repeat("\x91", 100_000), "\x81\xa1a" + strings.Repeat("\x91", 100_000) + "\xc0",
}

func TestRequestsMalformed(t *testing.T) {
	for _, in := range hostile {
		var r wire.Request
		err := newCodec(V6).DecodeRequest([]byte(in), "/", &r)
		var bad *MessageError
		if assert.ErrorAs(t, err, &bad, "%.80q: %+v", in, r) {
			assert.Equal(t, "request", bad.Message, "%.80q: %+v", in, r)
		}
	}
}

func TestExpect(t *testing.T) {
	all := func(n int) wire.Expected { return wire.Expected{Answers: n} }
	silent := func(n int) wire.Expected { return wire.Expected{Silent: n} }
	owner := wire.Expected{Answers: 1, FirstOnly: true}
	for _, c := range []struct {
		d    Dialect
		r    wire.Request
		p    wire.Unannounced
		want wire.Expected
		mix  bool
	}{
		{V6, wire.Request{Op: wire.OpMembers}, wire.Unannounced{Total: 3, Responding: 3}, all(3), false},
		{V6, wire.Request{Op: wire.OpMembers}, wire.Unannounced{}, wire.Expected{}, false},
		{V6, wire.Request{Op: wire.OpRooms}, wire.Unannounced{Total: 3, Responding: -1}, all(3), false},
		{V6, wire.Request{Op: wire.OpRoomsOf, ByID: true}, wire.Unannounced{Total: 3, Responding: 3}, all(3), false},
		{V6, wire.Request{Op: wire.OpJoin, ByID: true}, wire.Unannounced{Total: 3, Responding: 3}, owner, false},
		{V6, wire.Request{Op: wire.OpDisconnect, ByID: true}, wire.Unannounced{Total: 3, Responding: 3}, owner, false},
		{V6, wire.Request{Op: wire.OpLeave}, wire.Unannounced{Total: 3, Responding: 3}, silent(3), false},
		{V6, wire.Request{Op: wire.OpCustom}, wire.Unannounced{Total: 3, Responding: 2}, silent(3), false},
		{V6, wire.Request{Op: wire.OpEvent}, wire.Unannounced{Total: 3, Responding: 3}, all(3), false},
		{V6, wire.Request{Op: wire.OpEvent}, wire.Unannounced{Total: 3, Responding: 1}, wire.Expected{Answers: 1, Silent: 2}, false},
		{V6, wire.Request{Op: wire.OpEvent}, wire.Unannounced{Total: 3, Responding: -1}, all(3), false},
		{V6, wire.Request{Op: wire.OpEvent, NoReply: true}, wire.Unannounced{Total: 3, Responding: 3}, wire.Expected{}, false},
		{V6, wire.Request{Op: wire.OpBroadcast}, wire.Unannounced{Total: 3, Responding: 3}, all(3), false},
		{V6, wire.Request{Op: wire.OpBroadcast}, wire.Unannounced{Total: 3, Responding: -1}, all(3), false},
		{V6, wire.Request{Op: wire.OpBroadcast}, wire.Unannounced{Total: 3, Responding: 2}, wire.Expected{}, true},
		{V6, wire.Request{Op: wire.OpMembers}, wire.Unannounced{Total: 4}, wire.Expected{Answers: 3, Silent: 1}, false},
		{V6, wire.Request{Op: wire.OpRooms}, wire.Unannounced{Total: 4}, wire.Expected{Answers: 3, Silent: 1}, false},
		{V6, wire.Request{Op: wire.OpMembers, Detail: true}, wire.Unannounced{Total: 4}, wire.Expected{Answers: 1, Silent: 3}, false},
		{V6, wire.Request{Op: wire.OpMembers, Except: []string{"a"}}, wire.Unannounced{Total: 4}, wire.Expected{Answers: 1, Silent: 3}, false},
		{V6, wire.Request{Op: wire.OpMembers, Detail: true}, wire.Unannounced{Total: 5}, all(5), false},
		{V6, wire.Request{Op: wire.OpMembers, Detail: true}, wire.Unannounced{Total: 4, Responding: 1}, all(4), false},
		{V5, wire.Request{Op: wire.OpMembers}, wire.Unannounced{Total: 3}, all(3), false},
		{V5, wire.Request{Op: wire.OpRoomsOf, ByID: true}, wire.Unannounced{Total: 3}, owner, false},
		{V5, wire.Request{Op: wire.OpJoin, ByID: true}, wire.Unannounced{Total: 3}, owner, false},
		{V5, wire.Request{Op: wire.OpCustom}, wire.Unannounced{Total: 3}, all(3), false},
		{V5, wire.Request{Op: wire.OpCustom}, wire.Unannounced{Total: 3, Responding: -1}, all(3), false},
		{V5, wire.Request{Op: wire.OpCustom}, wire.Unannounced{Total: 3, Responding: 1}, wire.Expected{}, true},
		{V5, wire.Request{Op: wire.OpCustom, Timeout: 1}, wire.Unannounced{Total: 3}, wire.Expected{}, true}, // another server has connected
	} {
		codec := newCodec(c.d)
		codec.AllV5(3)
		codec.SetUnlike(&Unlike{Unannounced: wire.Unannounced{Total: 4}, Old: 3, Deaf: 1})
		if c.r.Timeout > 0 {
			codec.AllV5(2)
		}
		got, err := codec.Expect("/", &c.r, c.p)
		var mixed *MixedError
		if errors.As(err, &mixed) != c.mix || got != c.want || c.mix && (mixed.Op != c.r.Op || mixed.Total != 3 || mixed.Responding != c.p.Responding || mixed.Reason == "") {
			t.Errorf("%s %s of %+v: %+v, %v", c.d, c.r.Op, c.p, got, err)
		}
	}
}

func TestResponseChannels(t *testing.T) {
	for in, want := range map[string]broker.Channel{
		`{"requestid":"1","type":2,"uid":"u"}`:                                                       broker.SocketIO.Responses("/n"),
		`{"requestid":"1","type":2,"crossroom":{"n":1,"node":"u"}}`:                                  broker.SocketIO.Responses("/n"),
		`{"requestId":"1","type":1}`:                                                                 broker.SocketIO.Responses("/n"),
		`{"uid":"u","requestId":"1","type":1}`:                                                       broker.SocketIO.NodeResponses("/n", "u"),
		`{"uid":"u","requestId":"1","type":6,"data":["e"]}`:                                          broker.SocketIO.Responses("/n"),
		`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"],"nsp":"/n"},"opts":{}}`: broker.SocketIO.NodeResponses("/n", "u"),
	} {
		var q wire.Request
		require.NoError(t, newCodec(V6).DecodeRequest([]byte(in), "/n", &q))
		if got := newCodec(V6).ResponseChannel("/n", &wire.Response{Request: &q}); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestResponsesByForm(t *testing.T) {
	member := wire.MemberInfo{ID: "s1", Node: "go", Rooms: []string{"s1", "42"}, Data: []byte(`{"data":{"n":1},"handshake":{"auth":{}}}`)}
	bare := wire.MemberInfo{ID: "s2"}
	headed := wire.MemberInfo{ID: "s3", Rooms: []string{"s3"}, Data: []byte(`{"data":1,"handshake":{"headers":{"cookie":"long"},"url":"/"}}`)}
	for _, c := range []struct {
		ask  string
		r    wire.Response
		want string
	}{
		{`{"requestid":"1","type":0,"rooms":[]}`, wire.Response{Members: []wire.MemberInfo{member}}, `{"requestid":"1","clients":["s1"]}`},
		{`{"requestid":"1","type":0,"rooms":[]}`, wire.Response{}, `{"requestid":"1","clients":[]}`},
		{`{"requestid":"1","type":0,"rooms":[]}`, wire.Response{Err: "busy"}, ``},
		{`{"requestid":"1","type":1,"sid":"s"}`, wire.Response{Rooms: []string{"a"}}, `{"requestid":"1","rooms":["a"]}`},
		{`{"requestid":"1","type":1,"sid":"s"}`, wire.Response{NotFound: true}, ``},
		{`{"requestid":"1","type":3,"sid":"s","room":"r"}`, wire.Response{}, `{"requestid":"1"}`},
		{`{"requestid":"1","type":3,"sid":"s","room":"r"}`, wire.Response{NotFound: true}, ``},
		{`{"requestid":"1","type":3,"sid":"s","room":"r","crossroom":{"n":1,"node":"u"}}`, wire.Response{NotFound: true, Node: "go"}, `{"requestid":"1","crossroom":{"n":1,"node":"go","nf":1}}`},
		{`{"requestid":"1","type":5}`, wire.Response{Payload: []byte(`[1]`)}, `{"requestid":"1","data":[1]}`},
		{`{"requestid":"1","type":5}`, wire.Response{Err: "x"}, `{"requestid":"1","data":null}`},
		{`{"requestid":null,"type":5}`, wire.Response{}, `{"requestid":null,"data":null}`},
		{`{"uid":"u","requestId":"1","type":0,"rooms":[]}`, wire.Response{Members: []wire.MemberInfo{member}}, `{"requestId":"1","sockets":["s1"]}`},
		{`{"uid":"u","requestId":"1","type":1}`, wire.Response{Rooms: nil}, `{"requestId":"1","rooms":[]}`},
		{`{"uid":"u","requestId":"1","type":3,"sid":"s","room":"r"}`, wire.Response{NotFound: true}, ``},
		{`{"uid":"u","requestId":"1","type":3,"sid":"s","room":"r"}`, wire.Response{}, `{"requestId":"1"}`},
		{`{"uid":"u","requestId":"1","type":3,"sid":"s","room":"r","crossroom":{"n":1}}`, wire.Response{NotFound: true, Node: "go"}, `{"requestId":"1","crossroom":{"n":1,"node":"go","nf":1}}`},
		{`{"uid":"u","type":3,"opts":{},"rooms":["r"],"crossroom":{"n":1,"id":"1"}}`, wire.Response{Count: 3, Node: "go"}, `{"requestId":"1","crossroom":{"n":1,"node":"go","c":3}}`},
		{`{"uid":"u","type":3,"opts":{},"rooms":["r"]}`, wire.Response{Count: 3, Node: "go"}, ``},
		{`{"uid":"u","requestId":"1","type":5,"opts":{}}`, wire.Response{Members: []wire.MemberInfo{member, bare}},
			`{"requestId":"1","sockets":[{"id":"s1","handshake":{"auth":{}},"rooms":["s1","42"],"data":{"n":1}},{"id":"s2","handshake":` + noHandshake + `,"rooms":[],"data":{}}]}`},
		{`{"uid":"u","requestId":"1","type":5,"opts":{},"crossroom":{"n":1,"ids":1}}`, wire.Response{Node: "go", Members: []wire.MemberInfo{bare}},
			`{"requestId":"1","sockets":[{"id":"s2"}],"crossroom":{"n":1,"node":"go"}}`},
		{`{"uid":"u","requestId":"1","type":5,"opts":{}}`, wire.Response{Err: "busy"}, ``},
		{`{"uid":"u","requestId":"1","type":5,"opts":{},"crossroom":{"n":1}}`, wire.Response{Err: "busy", Node: "go"}, `{"requestId":"1","sockets":[],"crossroom":{"n":1,"node":"go","e":"busy"}}`},
		{`{"uid":"u","requestId":"1","type":1,"crossroom":{"n":1}}`, wire.Response{Rooms: []string{"a"}, More: true, Node: "go"}, `{"requestId":"1","rooms":["a"],"crossroom":{"n":1,"node":"go","more":1}}`},
		{`{"uid":"u","requestId":"1","type":1,"crossroom":{"n":1,"page":9,"after":"a"}}`, wire.Response{Rooms: []string{"b"}, Rest: true, Node: "go"}, `{"requestId":"1","rooms":["b"],"crossroom":{"n":1,"node":"go","rest":1}}`},
		{`{"uid":"u","requestId":"1","type":1,"crossroom":{"n":1}}`, wire.Response{Ask: true, Payload: []byte(`{"type":1}`), Node: "go"}, `{"requestId":"1","crossroom":{"n":1,"node":"go","ask":"{\"type\":1}"}}`},
		{`{"uid":"u","requestId":"1","type":6,"data":["e"]}`, wire.Response{}, `{"type":6,"requestId":"1"}`},
		{`{"uid":"u","requestId":"1","type":6,"data":["e"]}`, wire.Response{Payload: []byte(`null`)}, `{"type":6,"requestId":"1","data":null}`},
		{`{"uid":"u","requestId":"1","type":6,"data":["e"]}`, wire.Response{Err: "panicked"}, `{"type":6,"requestId":"1"}`},
		{`{"uid":"u","requestId":"1","type":6,"data":["e"],"crossroom":{"n":1}}`, wire.Response{Err: "busy", Busy: true, Node: "go"}, `{"type":6,"requestId":"1","crossroom":{"n":1,"node":"go","e":"busy","busy":1}}`},
		{`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"]},"opts":{}}`, wire.Response{Ack: true, Err: "large"}, "\x82\xa4type\x09\xa9requestId\xa11"},
		{`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"]},"opts":{},"crossroom":{"n":1}}`, wire.Response{Ack: true, Err: "x", Node: "go"},
			"\x83\xa4type\x09\xa9requestId\xa11\xa9crossroom\x83\xa1n\x01\xa4node\xa2go\xa1e\xa1x"},
		{`{"uid":"u","requestId":"1","type":5,"opts":{}}`, wire.Response{Brief: 1, Members: []wire.MemberInfo{headed}},
			`{"requestId":"1","sockets":[{"id":"s3","handshake":{"url":"/","headers":{}},"rooms":["s3"],"data":1}]}`},
		{`{"uid":"u","requestId":"1","type":5,"opts":{}}`, wire.Response{Brief: 2, Members: []wire.MemberInfo{headed}},
			`{"requestId":"1","sockets":[{"id":"s3","handshake":` + noHandshake + `,"rooms":["s3"],"data":1}]}`},
		{`{"uid":"u","requestId":"1","type":5,"opts":{}}`, wire.Response{Brief: wire.MaxBrief, Members: []wire.MemberInfo{headed}},
			`{"requestId":"1","sockets":[{"id":"s3","handshake":` + noHandshake + `,"rooms":["s3"],"data":{}}]}`},
		{`{"uid":"u","requestId":"1","type":"crossroom:custom","crossroom":{"n":1}}`, wire.Response{Payload: []byte(`7`), Node: "go", Header: wire.Header{"tracestate": "t"}},
			`{"requestId":"1","data":7,"tracestate":"t","crossroom":{"n":1,"node":"go"}}`},
		{`{"uid":"u","requestId":"1","type":"crossroom:custom","crossroom":{"n":1}}`, wire.Response{Err: "no", Node: "go"}, `{"requestId":"1","crossroom":{"n":1,"node":"go","e":"no"}}`},
		{`{"uid":"u","requestId":"1","type":"crossroom:custom","crossroom":{"n":1}}`, wire.Response{Err: "busy", Busy: true, Node: "go"}, `{"requestId":"1","crossroom":{"n":1,"node":"go","e":"busy","busy":1}}`},
		{`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"]},"opts":{},"crossroom":{"n":1}}`, wire.Response{Count: 2, Node: "go"}, `{"type":8,"requestId":"1","clientCount":2,"crossroom":{"n":1,"node":"go"}}`},
		{`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"]},"opts":{}}`, wire.Response{Ack: true}, "\x82\xa4type\x09\xa9requestId\xa11"},
		{`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"]},"opts":{}}`, wire.Response{Ack: true, Payload: []byte("\xc0")}, "\x83\xa4type\x09\xa9requestId\xa11\xa6packet\xc0"},
	} {
		var q wire.Request
		require.NoError(t, newCodec(V6).DecodeRequest([]byte(c.ask), "/", &q), c.ask)
		c.r.Request, c.r.RequestID = &q, q.ID
		got, err := newCodec(V5).AppendResponse(nil, "/", &c.r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.ask, got, err, c.want)
			continue
		}
		if len(got) == 0 || q.Form&formRawID != 0 {
			continue
		}
		var back wire.Response
		err = newCodec(V6).DecodeResponse(got, "/", &back)
		if assert.NoError(t, err, "%s: %+v", got, back) {
			assert.Equal(t, "1", back.RequestID, "%s: %+v", got, back)
			assert.Equal(t, c.r.Ack, back.Ack, "%s: %+v", got, back)
		}
		if q.Native && (back.NotFound != c.r.NotFound || back.Count != c.r.Count || back.Err != c.r.Err || back.Busy != c.r.Busy || back.More != c.r.More || back.Rest != c.r.Rest || back.Ask != c.r.Ask || c.r.Ask && string(back.Payload) != string(c.r.Payload) || back.Node != c.r.Node || !slices.EqualFunc(back.Members, c.r.Members, func(a, b wire.MemberInfo) bool { return a.ID == b.ID })) {
			t.Errorf("%s came back as %+v", got, back)
		}
	}
}

func TestResponsesRefused(t *testing.T) {
	q := wire.Request{ID: "1", Origin: "u", Native: true}
	for name, c := range map[string]struct {
		op wire.Op
		r  wire.Response
	}{
		"room UTF-8":        {wire.OpRooms, wire.Response{Rooms: []string{"\xff"}}},
		"member UTF-8":      {wire.OpMembers, wire.Response{Members: []wire.MemberInfo{{ID: "\xff"}}}},
		"member room UTF-8": {wire.OpMembers, wire.Response{Members: []wire.MemberInfo{{ID: "a", Rooms: []string{"\xff"}}}}},
		"member data":       {wire.OpMembers, wire.Response{Members: []wire.MemberInfo{{ID: "a", Data: []byte("{")}}}},
		"custom":            {wire.OpCustom, wire.Response{Payload: []byte("{")}},
		"event":             {wire.OpEvent, wire.Response{Payload: []byte("")}},
		"ack":               {wire.OpBroadcast, wire.Response{Ack: true, Payload: []byte("\x91")}},
		"ack, two":          {wire.OpBroadcast, wire.Response{Ack: true, Payload: []byte("\x01\x01")}},
		"error UTF-8":       {wire.OpRooms, wire.Response{Err: "\xff"}},
		"header":            {wire.OpRooms, wire.Response{Header: wire.Header{"a": strings.Repeat("x", wire.MaxHeader)}}},
	} {
		q.Op = c.op
		c.r.Request = &q
		out, err := newCodec(V6).AppendResponse([]byte("kept"), "/", &c.r)
		var bad *MessageError
		if assert.ErrorAs(t, err, &bad, name) {
			assert.Equal(t, "response", bad.Message, name)
			assert.Equal(t, "kept", string(out), name)
		}
	}
}

func TestResponsesMalformed(t *testing.T) {
	for _, in := range []string{
		"", "null", "[]", "{", `{"requestId":5}`, `{"requestId":"1","sockets":[null]}`,
		`{"requestId":"1","sockets":[{}]}`, `{"requestId":"1","sockets":[{"id":"a","rooms":7}]}`, `{"type":8}`, `{"type":9,"packet":1}`, `{"type":9,"requestId":5}`,
		`{"what":1}`, `{"requestId":null,"type":6}`, "\x81\xa4type\x09", "\x82\xa4type\x09\xa9requestId\xa11\xc0", "\x82\xa4type\x09\xa9requestId", "\xc0", "\x90", `{"a":` + strings.Repeat("[", 100_000),
	} {
		var r wire.Response
		err := newCodec(V6).DecodeResponse([]byte(in), "/", &r)
		var bad *MessageError
		if assert.ErrorAs(t, err, &bad, "%.80q: %+v", in, r) {
			assert.Equal(t, "response", bad.Message, "%.80q: %+v", in, r)
			assert.NotErrorIs(t, err, wire.ErrIgnored, "%.80q: %+v", in, r)
		}
	}
}

// A response of a server that misread a request is not malformed, and shows the generation
// of the server.
func TestMisunderstandings(t *testing.T) {
	for in, want := range map[string]generation{
		`{"sockets":["a"]}`: gen6, `{"clients":[]}`: gen5, `{"data":null}`: gen5, `{"rooms":[1]}`: genNone, `{}`: genNone, `{"requestId":null,"sockets":[]}`: gen6,
	} {
		c := newCodec(V6)
		var r wire.Response
		err := c.DecodeResponse([]byte(in), "/", &r)
		assert.ErrorIs(t, err, wire.ErrMisunderstood, in)
		assert.ErrorIs(t, err, wire.ErrIgnored, in)
		v5, v6 := c.Generations()
		assert.NotEqual(t, want == gen5, v5.IsZero(), "%s: v5 %v, v6 %v", in, v5, v6)
		assert.NotEqual(t, want == gen6, v6.IsZero(), "%s: v5 %v, v6 %v", in, v5, v6)
	}
}

// A client may send any value as its credentials, and a Node.js server includes it in the
// response with its other sockets.
func TestDeepResponseOfNode(t *testing.T) {
	auth := strings.Repeat("[", 6000) + strings.Repeat("]", 6000)
	in := `{"requestId":"1","sockets":[{"id":"a","handshake":{"auth":` + auth + `},"rooms":["a"],"data":{}},{"id":"b","handshake":{},"rooms":["b"],"data":{}}]}`
	var r wire.Response
	require.NoError(t, newCodec(V6).DecodeResponse([]byte(in), "/", &r))
	require.Len(t, r.Members, 2)
	require.Equal(t, "b", r.Members[1].ID)
	var about struct{ Handshake struct{ Auth any } }
	assert.NoError(t, json.Unmarshal(r.Members[0].Data, &about), "not readable")
}

func TestGenerationsSeen(t *testing.T) {
	for in, want := range map[string]generation{
		`{"requestid":"1","type":2}`: gen5,
		`{"requestId":"1","type":1}`: gen6,
		`{"uid":"u","requestId":"1","type":7,"packet":{"type":2,"data":["e"]},"opts":{}}`: gen6,
		`{"type":2,"opts":{},"rooms":["a"]}`:                                              genNone, // possibly an emitter
		`{"requestid":"1","type":2,"crossroom":{"n":1,"node":"u"}}`:                       genNone,
		`{"uid":"u","requestId":"1","type":1,"crossroom":{"n":1}}`:                        genNone,
		`{"requestid":"1","type":99}`:                                                     genNone,
	} {
		c := newCodec(V6)
		before := time.Now()
		var r wire.Request
		_ = c.DecodeRequest([]byte(in), "/", &r)
		v5, v6 := c.Generations()
		if v5.IsZero() == (want == gen5) || v6.IsZero() == (want == gen6) || want == gen5 && v5.Before(before.Round(0)) {
			t.Errorf("%s: v5 %v, v6 %v", in, v5, v6)
		}
	}
	for in, want := range map[string]generation{
		`{"requestid":"1"}`: gen5, `{"requestId":"1"}`: gen6, "\x82\xa4type\x09\xa9requestId\xa11": gen6, `{"requestId":"1","crossroom":{"n":1}}`: genNone,
	} {
		c := newCodec(V6)
		var r wire.Response
		require.NoError(t, c.DecodeResponse([]byte(in), "/", &r))
		v5, v6 := c.Generations()
		assert.NotEqual(t, want == gen5, v5.IsZero(), "%s: v5 %v, v6 %v", in, v5, v6)
		assert.NotEqual(t, want == gen6, v6.IsZero(), "%s: v5 %v, v6 %v", in, v5, v6)
	}
}
