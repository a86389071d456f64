package interop_test

import (
	"fmt"
	"strings"
)

// everyJSON has one value of each kind that a field of a request can have.
var everyJSON = []value{
	{missing, missing}, {"null", `null`}, {"false", `false`}, {"true", `true`}, {"0", `0`}, {"1.5", `1.5`}, {"5", `5`}, {"`\"5\"`", `"5"`}, {"`\"\"`", `""`}, {"`\"ab\"`", `"ab"`}, {"`\"a\"`", `"a"`},
	{"`[]`", `[]`}, {"`{}`", `{}`}, {"`[\"a\"]`", `["a"]`}, {"`[null]`", `[null]`}, {"mixed list", `["b",null,5,true,"b"]`}, {"`[[\"a\"]]`", `[["a"]]`}, {"`{\"a\":1}`", `{"a":1}`}, {"bad UTF-8", "\"\xffa\""}, {"an id", `"id-a"`}, {"`[\"id-a\"]`", `["id-a"]`},
}

// object returns a JSON object of keys and values.
func jsonOf(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == missing {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", pairs[i], pairs[i+1])
	}
	return "{" + b.String() + "}"
}

const requests, responses = "socket.io-request#/#", "socket.io-response#/#"

// A form is a request or response in its usual form, with the fields that are replaced by other
// values. A field "x.y" is the field y of the field x.
type form struct {
	name, sender string
	pairs        []string
	fields       []string
}

func (f form) with(field, raw string) string {
	outer, inner, nested := strings.Cut(field, ".")
	pairs := append([]string(nil), f.pairs...)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != outer {
			continue
		}
		if !nested {
			pairs[i+1] = raw
			continue
		}
		switch outer {
		case "packet":
			p := []string{"type", "2", "data", `["hello","x"]`, "nsp", `"/"`}
			for k := 0; k < len(p); k += 2 {
				if p[k] == inner {
					p[k+1] = raw
				}
			}
			pairs[i+1] = jsonOf(p...)
		case "opts":
			pairs[i+1] = jsonOf(inner, raw)
		}
	}
	return jsonOf(pairs...)
}

var requestForms = []form{
	{"v5 0 clients", "v5", []string{"requestid", `"rq"`, "type", "0", "rooms", `["a"]`}, []string{"requestid", "rooms"}},
	{"v5 1 clientRooms", "v5", []string{"requestid", `"rq"`, "type", "1", "sid", `"id-a"`}, []string{"sid"}},
	{"v5 2 allRooms", "v5", []string{"requestid", `"rq"`, "type", "2"}, nil},
	{"v5 3 remoteJoin", "v5", []string{"requestid", `"rq"`, "type", "3", "sid", `"id-a"`, "room", `"r"`}, []string{"sid", "room"}},
	{"v5 4 remoteLeave", "v5", []string{"requestid", `"rq"`, "type", "4", "sid", `"id-a"`, "room", `"a"`}, []string{"sid", "room"}},
	{"v5 5 custom", "v5", []string{"requestid", `"rq"`, "type", "5", "data", `"d"`}, []string{"data"}},
	{"v5 6 remoteDisconnect", "v5", []string{"requestid", `"rq"`, "type", "6", "sid", `"id-a"`, "close", "true"}, []string{"sid", "close"}},
	{"0 sockets", "", []string{"uid", `"peer"`, "requestId", `"rq"`, "type", "0", "rooms", `["a"]`}, []string{"uid", "requestId", "type", "rooms"}},
	{"1 allRooms", "", []string{"requestId", `"rq"`, "type", "1"}, nil},
	{"2 join by id", "", []string{"requestId", `"rq"`, "type", "2", "sid", `"id-a"`, "room", `"r"`}, []string{"sid", "room"}},
	{"2 join", "", []string{"uid", `"peer"`, "type", "2", "opts", `{"rooms":["a"]}`, "rooms", `["r"]`}, []string{"opts", "opts.rooms", "opts.except", "rooms"}},
	{"3 leave by id", "", []string{"requestId", `"rq"`, "type", "3", "sid", `"id-a"`, "room", `"a"`}, []string{"sid", "room"}},
	{"3 leave", "", []string{"type", "3", "opts", `{"rooms":["a"]}`, "rooms", `["a"]`}, []string{"opts", "opts.rooms", "opts.except", "rooms"}},
	{"4 disconnect by id", "", []string{"requestId", `"rq"`, "type", "4", "sid", `"id-a"`, "close", "true"}, []string{"sid", "close"}},
	{"4 disconnect", "", []string{"type", "4", "opts", `{"rooms":["a"]}`, "close", "true"}, []string{"opts", "opts.rooms", "opts.except", "close"}},
	{"5 fetch sockets", "", []string{"requestId", `"rq"`, "type", "5", "opts", `{"rooms":["b"]}`}, []string{"requestId", "opts", "opts.rooms", "opts.except"}},
	{"6 server-side emit", "", []string{"uid", `"peer"`, "type", "6", "data", `["hello","x"]`}, []string{"data"}},
	{"6 server-side emit with ack", "", []string{"uid", `"peer"`, "requestId", `"rq"`, "type", "6", "data", `["hello","x"]`}, []string{"requestId", "data"}},
	{"7 broadcast with ack", "", []string{"uid", `"peer"`, "requestId", `"rq"`, "type", "7", "packet", `{"type":2,"data":["hello","x"],"nsp":"/"}`, "opts", `{"rooms":["a"]}`},
		[]string{"requestId", "packet", "packet.type", "packet.data", "packet.nsp", "opts", "opts.rooms", "opts.except"}},
	{"8 client count", "", []string{"requestId", `"rq"`, "type", "8", "clientCount", "1"}, nil},
	{"9 ack", "", []string{"requestId", `"rq"`, "type", "9", "packet", "1"}, nil},
}

// inMsgpack has requests in msgpack, which has more kinds of values.
var inMsgpack = []struct{ name, payload string }{
	{"sockets", mapOf("requestId", "\xa2rq", "type", "\x00", "rooms", "\x91\xa1a")},
	{"sockets, type float", mapOf("requestId", "\xa2rq", "type", "\xcb\x00\x00\x00\x00\x00\x00\x00\x00", "rooms", "\x91\xa1a")},
	{"join", mapOf("type", "\x02", "opts", "\x81\xa5rooms\x91\xa1a", "rooms", "\x91\xa1r")},
	{"join, v5's key", mapOf("requestid", "\xa1x", "type", "\x02", "opts", "\x81\xa5rooms\x91\xa1a", "rooms", "\x91\xa1r")},
	{"join, bin keys", "\x83\xc4\x04type\x02\xc4\x04opts\x80\xc4\x05rooms\x91\xa1r"},
	{"fetch, id undefined", mapOf("requestId", "\xd4\x00\x00", "type", "\x05", "opts", "\x80")},
	{"fetch, id number", mapOf("requestId", "\x07", "type", "\x05", "opts", "\x81\xa5rooms\x91\xa1b")},
	{"fetch, opts list", mapOf("requestId", "\xa2rq", "type", "\x05", "opts", "\x90")},
	{"event", mapOf("uid", "\xa4peer", "type", "\x06", "data", "\x92\xa5hello\xa1x")},
	{"ack", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\x80")},
	{"ack, id number", mapOf("uid", "\xa4peer", "requestId", "\x07", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\x80")},
	{"ack, no id", mapOf("uid", "\xa4peer", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\x80")},
	{"ack, opts list", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\x90")},
	{"ack, opts text", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\xa1x")},
	{"ack, rooms text", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\x81\xa5rooms\xa2ab")},
	{"ack, foreign nsp", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa2/x"), "opts", "\x80")},
	{"ack, type 5", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x05", "data", "\x91\xa5hello", "nsp", "\xa1/"), "opts", "\x80")},
	{"ack, bad UTF-8", mapOf("uid", "\xa4peer", "requestId", "\xa2rq", "type", "\x07", "packet", mapOf("type", "\x02", "data", "\x92\xa5hello\xa1\xff"), "opts", "\x80")},
	{"nil", "\xc0"}, {"number", "\x05"}, {"list", "\x91\x05"}, {"empty map", "\x80"}, {"trailing byte", mapOf("type", "\x01") + "\xc0"}, {"nothing", ""},
}

// otherText are requests in other spellings of JSON.
var otherText = []struct{ name, payload string }{
	{"exponent", `{"requestId":"rq","type":50e-1,"opts":{"rooms":["b"]}}`}, {"fraction", `{"requestId":"rq","type":5.0,"opts":{"rooms":["b"]}}`}, {"minus zero", `{"requestId":"rq","type":-0,"rooms":["b"]}`},
	{"escaped keys", `{"re\u0071uestId":"rq","typ\u0065":5,"opts":{"rooms":["b"]}}`}, {"twice", `{"requestId":"x","requestId":"rq","type":0,"type":5,"opts":{"rooms":["a"]},"opts":{"rooms":["b"]}}`},
	{"white space inside", "{ \"requestId\" : \"rq\" ,\n\"type\":5,\"opts\":{\"rooms\":[\"b\"]}}\n"}, {"white space before", ` {"requestId":"rq","type":5,"opts":{}}`}, {"list", `[{"type":1}]`}, {"null", `null`}, {"text", `"type"`},
	{"cut off", `{"requestId":"rq","type":5`}, {"trailing", `{"requestId":"rq","type":1}}`}, {"type text", `{"requestId":"rq","type":"1"}`}, {"type list", `{"requestId":"rq","type":[1]}`},
	{"bad UTF-8 beside", "{\"requestId\":\"rq\",\"z\":\"\xff\",\"type\":5,\"opts\":{\"rooms\":[\"b\"]}}"}, {"lone surrogate", `{"requestId":"\ud800","type":5,"opts":{"rooms":["b"]}}`}, {"trace broken", `{"requestId":"rq","type":5,"traceparent":5,"crossroom":7,"opts":{"rooms":["b"],"tracestate":{}}}`},
}

func requestReadings() (list []reading) {
	add := func(name, sender, payload string) {
		list = append(list, reading{Name: "request " + name, Kind: "request", Nsp: "/", Channel: requests, Payload: []byte(payload), Sender: sender})
	}
	for _, f := range requestForms {
		add(f.name, f.sender, jsonOf(f.pairs...))
		for _, field := range f.fields {
			for _, v := range everyJSON {
				sender := f.sender
				if field == "requestid" && v.raw == missing {
					sender = ""
				}
				add(f.name+": "+field+" "+v.name, sender, f.with(field, v.raw))
			}
		}
	}
	for _, r := range inMsgpack {
		add("in msgpack: "+r.name, "", r.payload)
	}
	for _, r := range otherText {
		add("in JSON: "+r.name, "", r.payload)
	}
	return list
}

// responseForms are the responses that complete a call, by call.
var responseForms = []struct {
	ask, sender string
	form
}{
	{"clients", "v5", form{pairs: []string{"requestid", `"REQ-ID"`, "clients", `["x"]`}, fields: []string{"requestid", "clients"}}},
	{"clientRooms", "v5", form{pairs: []string{"requestid", `"REQ-ID"`, "rooms", `["x"]`}, fields: []string{"rooms"}}},
	{"allRooms5", "v5", form{pairs: []string{"requestid", `"REQ-ID"`, "rooms", `["x"]`}, fields: []string{"rooms"}}},
	{"remoteJoin5", "v5", form{pairs: []string{"requestid", `"REQ-ID"`}, fields: []string{"requestid"}}},
	{"customRequest", "v5", form{pairs: []string{"requestid", `"REQ-ID"`, "data", `"x"`}, fields: []string{"data"}}},
	{"fetchSockets", "v8", form{pairs: []string{"requestId", `"REQ-ID"`, "sockets", `[{"id":"x","rooms":["x"],"data":{}}]`}, fields: []string{"requestId", "sockets"}}},
	{"allRooms", "v8", form{pairs: []string{"requestId", `"REQ-ID"`, "rooms", `["x"]`}, fields: []string{"requestId", "rooms"}}},
	{"serverSideEmit", "v8", form{pairs: []string{"type", "6", "requestId", `"REQ-ID"`, "data", `"x"`}, fields: []string{"type", "data"}}},
	{"emitWithAck", "v8", form{pairs: []string{"type", "8", "requestId", `"REQ-ID"`, "clientCount", "0"}, fields: []string{"type", "clientCount"}}},
}

func responseReadings() (list []reading) {
	add := func(ask, name, sender, payload string) {
		list = append(list, reading{Name: "response to " + ask + ": " + name, Kind: "response", Ask: ask, Nsp: "/", Channel: responses, Payload: []byte(payload), Sender: sender})
	}
	for _, f := range responseForms {
		add(f.ask, "usual", f.sender, jsonOf(f.pairs...))
		for _, field := range f.fields {
			for _, v := range everyJSON {
				add(f.ask, field+" "+v.name, f.sender, f.with(field, v.raw))
			}
		}
	}
	for _, member := range []value{{"text", `"x"`}, {"number", `5`}, {"null", `null`}, {"list", `[]`}, {"empty", `{}`}, {"id number", `{"id":5,"rooms":[]}`}, {"id null", `{"id":null,"rooms":[]}`},
		{"no rooms", `{"id":"x"}`}, {"rooms null", `{"id":"x","rooms":null}`}, {"rooms number", `{"id":"x","rooms":5}`}, {"rooms text", `{"id":"x","rooms":"ab"}`}, {"rooms mixed", `{"id":"x","rooms":[1,null,"a"]}`},
		{"data null", `{"id":"x","rooms":[],"data":null}`}, {"data text", `{"id":"x","rooms":[],"data":"d"}`}, {"handshake text", `{"id":"x","handshake":"h","rooms":[],"data":1}`}} {
		add("fetchSockets", "socket "+member.name, "v8", jsonOf("requestId", `"REQ-ID"`, "sockets", "["+member.raw+`,{"id":"y","rooms":["y"],"data":2}]`))
	}
	add("fetchSockets", "in msgpack", "v8", mapOf("requestId", "\xa6REQ-ID", "sockets", "\x91"+mapOf("id", "\xa1x", "rooms", "\x91\xa1x", "data", "\x05")))
	add("fetchSockets", "bad UTF-8 beside", "v8", "{\"requestId\":\"REQ-ID\",\"z\":\"\xff\",\"sockets\":[{\"id\":\"x\",\"rooms\":[\"\xff\"],\"data\":1}]}")
	add("emitWithAck", "count in msgpack, float", "v8", mapOf("requestId", "\xa6REQ-ID", "type", "\xcb\x40\x20\x00\x00\x00\x00\x00\x00", "clientCount", "\xcb\x00\x00\x00\x00\x00\x00\x00\x00"))
	add("emitWithAck", "type 8.0", "v8", `{"type":8.0,"requestId":"REQ-ID","clientCount":0e3}`)
	add("emitWithAck", "count -1", "v8", `{"type":8,"requestId":"REQ-ID","clientCount":-1}`)
	for _, raw := range []string{"", "\xc0", "\x05", "\x91\x05", "{}", "null", "[]", "{"} {
		add("allRooms", fmt.Sprintf("%q", raw), "v8", raw)
	}
	return list
}
