package interop_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// A value is MessagePack that is put in the place of something else.
type value struct{ name, raw string }

const missing = "missing"

// everyKind has one value of each kind that a field can have. The first one stands for a missing
// field.
var everyKind = []value{
	{missing, ""}, {"nil", "\xc0"}, {"undefined", "\xd4\x00\x00"}, {"false", "\xc2"}, {"true", "\xc3"},
	{"0", "\x00"}, {"float", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"}, {"NaN", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"},
	{"`\"5\"`", "\xa15"}, {"`\"\"`", "\xa0"}, {"`\"ab\"`", "\xa2ab"}, {"bad UTF-8", "\xa2\xffa"},
	{"`[]`", "\x90"}, {"`{}`", "\x80"}, {"`[[\"a\"]]`", "\x91\x91\xa1a"}, {"`{\"a\":[]}`", "\x81\xa1a\x90"},
	{"bin", "\xc4\x01a"}, {"ext", "\xd4\x05a"}, {"date", "\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x00"}, {"ArrayBuffer", "\xc7\x01\x00a"},
}

// moreKinds are further values, for which the table has no column.
var moreKinds = []value{
	{"fixint 5", "\x05"}, {"uint8 5", "\xcc\x05"}, {"uint16 5", "\xcd\x00\x05"}, {"uint32 5", "\xce\x00\x00\x00\x05"}, {"uint64 5", "\xcf\x00\x00\x00\x00\x00\x00\x00\x05"},
	{"int8 5", "\xd0\x05"}, {"int16 5", "\xd1\x00\x05"}, {"int32 5", "\xd2\x00\x00\x00\x05"}, {"int64 5", "\xd3\x00\x00\x00\x00\x00\x00\x00\x05"},
	{"float32 5", "\xca\x40\xa0\x00\x00"}, {"float64 5", "\xcb\x40\x14\x00\x00\x00\x00\x00\x00"},
	{"-1", "\xff"}, {"int8 -1", "\xd0\xff"}, {"int64 -1", "\xd3\xff\xff\xff\xff\xff\xff\xff\xff"}, {"-0", "\xcb\x80\x00\x00\x00\x00\x00\x00\x00"},
	{"255", "\xcc\xff"}, {"65536", "\xce\x00\x01\x00\x00"}, {"2^40", "\xcf\x00\x00\x01\x00\x00\x00\x00\x00"}, {"2^64-1", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"}, {"1e300", "\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c"},
	{"str8", "\xd9\x01a"}, {"str16", "\xda\x00\x01a"}, {"str32", "\xdb\x00\x00\x00\x01a"}, {"bin16", "\xc5\x00\x01a"}, {"empty bin", "\xc4\x00"},
	{"array16", "\xdc\x00\x01\xa1a"}, {"array32", "\xdd\x00\x00\x00\x01\xa1a"}, {"empty array32", "\xdd\x00\x00\x00\x00"}, {"empty map16", "\xde\x00\x00"}, {"empty map32", "\xdf\x00\x00\x00\x00"},
	{"list", "\x92\xa1a\xa1b"}, {"list of one", "\x91\xa1a"}, {"list of nil", "\x91\xc0"}, {"list with nil", "\x92\xc0\xa1a"}, {"map like a list", "\x81\xa10\xa1a"},
	{"list of bin", "\x91\xc4\x01a"}, {"list of an id", "\x91\xa4id-a"}, {"cut UTF-8", "\xa2\xe2\x82"}, {"null byte", "\xa1\x00"},
	{"timestamp", "\xd6\xff\x65\x53\xf1\x00"}, {"invalid date", "\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff"}, {"ext of 8", "\xd7\x05abcdefgh"}, {"reserved byte", "\xc1"},
	{"cut off", "\xa9a"}, {"array cut off", "\x95a"}, {"huge array", "\xdd\xff\xff\xff\xff"}, {"huge map", "\xdf\xff\xff\xff\xff"},
}

// A reading is bytes on a channel. Sender is the only generation that writes such bytes, if there
// is one.
type reading struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Payload []byte `json:"payload"` // base64
	Channel string `json:"channel"`
	Nsp     string `json:"nsp"`
	Ask     string `json:"ask,omitempty"`
	Sender  string `json:"sender,omitempty"`
}

// A shape is a broadcast in parts. A part with the value missing is omitted together with its key.
type shape struct {
	uid, typ, data, nsp, id string
	packet                  string // instead of the four fields before it
	rooms, except, flags    string
	opts                    string // instead of the three fields before it
}

func usual() shape {
	return shape{uid: "\xa7emitter", typ: "\x02", data: "\x92\xa5hello\xa1x", nsp: "\xa1/", id: missing, rooms: "\x90", except: "\x90", flags: "\x80"}
}

func (s shape) bytes() string {
	packet, opts := s.parts()
	return arrayOf(s.uid, packet, opts)
}

func (s shape) parts() (packet, opts string) {
	packet, opts = s.packet, s.opts
	if packet == "" {
		packet = mapOf("type", s.typ, "data", s.data, "nsp", s.nsp, "id", s.id)
	}
	if opts == "" {
		opts = mapOf("rooms", s.rooms, "except", s.except, "flags", s.flags)
	}
	return packet, opts
}

// mapOf returns a map of keys and encoded values.
func mapOf(pairs ...string) string {
	n, body := 0, []byte(nil)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != missing {
			n++
			body = append(msgpack.AppendString(body, pairs[i]), pairs[i+1]...)
		}
	}
	return string(msgpack.AppendMapLen(nil, n)) + string(body)
}

// arrayOf returns an array of encoded values.
func arrayOf(parts ...string) string {
	n, body := 0, ""
	for _, p := range parts {
		if p != missing {
			n++
			body += p
		}
	}
	return string(msgpack.AppendArrayLen(nil, n)) + body
}

// The rows of the table, in order.
var broadcastFields = []struct {
	name string
	more bool // with moreKinds too
	set  func(s *shape, raw string)
}{
	{"uid", false, func(s *shape, raw string) { s.uid = raw }},
	{"packet", false, func(s *shape, raw string) { s.packet = raw }},
	{"packet.type", true, func(s *shape, raw string) { s.typ = raw }},
	{"packet.data", true, func(s *shape, raw string) { s.data = raw }},
	{"packet.data[0]", true, func(s *shape, raw string) { s.data = arrayOf(raw) }},
	{"packet.data[1]", true, func(s *shape, raw string) { s.data = arrayOf("\xa5hello", raw) }},
	{"packet.nsp", false, func(s *shape, raw string) { s.nsp = raw }},
	{"packet.id", false, func(s *shape, raw string) { s.id = raw }},
	{"opts", true, func(s *shape, raw string) { s.opts = raw }},
	{"opts.rooms", true, func(s *shape, raw string) { s.rooms = raw }},
	{"opts.rooms[0]", true, func(s *shape, raw string) { s.rooms = arrayOf(raw) }},
	{"opts.rooms[1]", false, func(s *shape, raw string) { s.rooms = arrayOf("\xa1b", raw) }},
	{"opts.except", true, func(s *shape, raw string) { s.except = raw }},
	{"opts.except[0]", false, func(s *shape, raw string) { s.except = arrayOf(raw) }},
	{"opts.flags", false, func(s *shape, raw string) { s.flags = raw }},
	{"flags.volatile", false, func(s *shape, raw string) { s.flags = mapOf("volatile", raw) }},
	{"flags.compress", true, func(s *shape, raw string) { s.flags = mapOf("compress", raw) }},
}

const toAll = "socket.io#/#"

func broadcast(name, channel, payload string) reading {
	return reading{Name: name, Kind: "broadcast", Nsp: "/", Channel: channel, Payload: []byte(payload)}
}

func broadcastReadings() (list []reading) {
	add := func(name, channel, payload string) *reading {
		list = append(list, broadcast(name, channel, payload))
		return &list[len(list)-1]
	}
	for _, f := range broadcastFields {
		kinds := everyKind
		if f.more {
			kinds = slices.Concat(everyKind, moreKinds)
		}
		for _, v := range kinds {
			s, raw := usual(), v.raw
			if raw == "" {
				raw = missing
			}
			f.set(&s, raw)
			r := add(f.name+" "+v.name, toAll, s.bytes())
			if f.name == "packet.type" && strings.HasSuffix(v.name, " 5") {
				r.Sender = "v5"
			}
		}
	}
	good := usual().bytes()
	in := func(rooms string) string { s := usual(); s.rooms = rooms; return s.bytes() }
	with := func(change func(*shape)) string { s := usual(); change(&s); return s.bytes() }

	// The outer shape.
	outer := map[string]string{
		"empty": "", "nil": "\xc0", "map": mapOf("0", "\xa7emitter"), "text": "\xa3abc", "bin": "\xc4\x03abc", "ext": "\xd4\x05a", "number": "\x05", "JSON": `["emitter",{}]`,
		"empty array": "\x90", "uid alone": "\x91\xa1x", "trailing byte": good + "\xc0", "trailing text": good + "\n", "cut by one": good[:len(good)-1], "cut in the middle": good[:20],
		"fourth element": "\x94" + good[1:] + "\xa1x", "fourth element nil": "\x94" + good[1:] + "\xc0", "fifth element": "\x95" + good[1:] + "\xa1x\x80", "fourth element cut off": "\x94" + good[1:],
		"array16": "\xdc\x00\x03" + good[1:], "array32": "\xdd\x00\x00\x00\x03" + good[1:], "only two": "\x92" + arrayOf("\xa1x", mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"))[1:],
		"packet first": arrayOf(mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), mapOf("rooms", "\x90")),
	}
	for _, name := range slices.Sorted(maps.Keys(outer)) {
		add("outer "+name, toAll, outer[name])
	}
	// Keys of any kind, twice, in another order.
	usualPacket := mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/")
	usualOpts := mapOf("rooms", "\x90", "except", "\x90", "flags", "\x80")
	keys := map[string]string{
		"bin":            arrayOf("\xa1x", "\x83\xc4\x04type\x02\xc4\x04data\x91\xa5hello\xc4\x03nsp\xa1/", "\x82\xc4\x05rooms\x91\xa1a\xa5flags\x80"),
		"str8":           arrayOf("\xa1x", "\x83\xd9\x04type\x02\xd9\x04data\x91\xa5hello\xd9\x03nsp\xa1/", "\x81\xd9\x05rooms\x91\xa1a"),
		"str16":          arrayOf("\xa1x", "\x83\xda\x00\x04type\x02\xda\x00\x04data\x91\xa5hello\xda\x00\x03nsp\xa1/", "\x81\xda\x00\x05rooms\x91\xa1a"),
		"list":           arrayOf("\xa1x", usualPacket, "\x81\x91\xa5rooms\x91\xa1a"),
		"odd ones":       arrayOf("\xa1x", usualPacket, "\x85\x01\x02\xc0\x90\xc3\x01\x80\x01\x90\x01"),
		"twice":          arrayOf("\xa1x", "\x86\xa4type\x07\xa4data\x91\xa1y\xa3nsp\xa1z\xa4type\x02\xa4data\x91\xa5hello\xa3nsp\xa1/", "\x84\xa5rooms\x91\xa1a\xa5flags\xa1x\xa5rooms\x91\xa1b\xa5flags\x80"),
		"twice bad last": arrayOf("\xa1x", usualPacket, "\x82\xa5rooms\x91\xa1a\xa5rooms\xc2"),
		"twice bad 1st":  arrayOf("\xa1x", usualPacket, "\x82\xa5rooms\xc2\xa5rooms\x91\xa1a"),
		"twice nil last": arrayOf("\xa1x", usualPacket, "\x82\xa5rooms\x91\xa1a\xa5rooms\xc0"),
		"unknown":        arrayOf("\xa1x", "\x84\xa1z\x91\xc0\xa4type\x02\xa4data\x91\xa5hello\xa3nsp\xa1/", "\x82\xa1z\x80\xa5rooms\x91\xa1a"),
		"other case":     arrayOf("\xa1x", usualPacket, "\x81\xa5Rooms\x91\xa1a"),
		"length":         arrayOf("\xa1x", usualPacket, "\x81\xa5rooms\x82\xa6length\x01\xa10\xa1a"),
		"map16":          arrayOf("\xa1x", "\xde\x00\x03"+usualPacket[1:], "\xdf\x00\x00\x00\x03"+usualOpts[1:]),
		"trace bad text": arrayOf("\xa1x", usualPacket, "\x82\xabtraceparent\xa1\xff\xa5rooms\x91\xa1a"),
		"trace list":     arrayOf("\xa1x", usualPacket, "\x82\xabtraceparent\x91\x01\xa5rooms\x91\xa1a"),
		"ours broken":    arrayOf("\xa1x", usualPacket, "\x82\xa9crossroom\x81\x91\x01\xa1\xff\xa5rooms\x91\xa1a"),
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		add("keys "+name, toAll, keys[name])
	}
	// Channels.
	list = append(list,
		reading{Name: "channel of a namespace", Kind: "broadcast", Nsp: "/chat", Channel: "socket.io#/chat#", Payload: []byte(with(func(s *shape) { s.nsp = "\xa5/chat" }))},
		reading{Name: "channel of a namespace, room", Kind: "broadcast", Nsp: "/chat", Channel: "socket.io#/chat#a#", Payload: []byte(with(func(s *shape) { s.nsp = "\xa5/chat"; s.rooms = "\x91\xa1a" }))},
		reading{Name: "channel of a namespace, nsp missing", Kind: "broadcast", Nsp: "/chat", Channel: "socket.io#/chat#", Payload: []byte(with(func(s *shape) { s.nsp = missing }))},
		reading{Name: "channel of a namespace, nsp /", Kind: "broadcast", Nsp: "/chat", Channel: "socket.io#/chat#", Payload: []byte(good)},
		reading{Name: "channel of a namespace, nsp bin", Kind: "broadcast", Nsp: "/chat", Channel: "socket.io#/chat#", Payload: []byte(with(func(s *shape) { s.nsp = "\xc4\x05/chat" }))},
	)
	add("channel of /, nsp missing", toAll, with(func(s *shape) { s.nsp = missing }))
	add("channel of /, nsp /chat", toAll, with(func(s *shape) { s.nsp = "\xa5/chat" }))
	add("channel of a room, that room", toAll+"a#", in("\x91\xa1a"))
	add("channel of a room, two rooms", toAll+"a#", in("\x92\xa1a\xa1b"))
	add("channel of a room, no rooms", toAll+"a#", good)
	add("channel of a room, another", toAll+"a#", in("\x91\xa1b"))
	add("channel of an empty room", toAll+"empty#", good)
	add("channel of an empty room, broken", toAll+"empty#", "\xc1")
	add("channel of a number", toAll+"5#", in("\x91\x05"))
	add("channel of a number, float", toAll+"1.5#", in("\x91\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"))

	// Content that clients would refuse, and content that they accept.
	for _, event := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "connection", "error", "message", ""} {
		add("event "+event, toAll, with(func(s *shape) { s.data = arrayOf(string(msgpack.AppendString(nil, event))) }))
	}
	for n := range 8 {
		add(fmt.Sprintf("type %d", n), toAll, with(func(s *shape) { s.typ = string(msgpack.AppendInt(nil, int64(n))) }))
		add(fmt.Sprintf("type %q", fmt.Sprint(n)), toAll, with(func(s *shape) { s.typ = string(msgpack.AppendString(nil, fmt.Sprint(n))) }))
		if n == 5 {
			list[len(list)-2].Sender = "v5"
		}
	}
	five := add("type 5 with binary", toAll, with(func(s *shape) { s.typ, s.data = "\x05", "\x92\xa5hello\xc4\x02\x01\x02" }))
	five.Sender = "v5"
	add("type 2 with binary", toAll, with(func(s *shape) { s.data = "\x92\xa5hello\xc4\x02\x01\x02" }))
	add("type text 2 with binary", toAll, with(func(s *shape) { s.typ, s.data = "\xa12", "\x92\xa5hello\xc4\x02\x01\x02" }))
	add("type bin 2", toAll, with(func(s *shape) { s.typ = "\xc4\x012" }))
	add("type list of 2", toAll, with(func(s *shape) { s.typ = "\x91\x02" }))
	add("type float 2", toAll, with(func(s *shape) { s.typ = "\xcb\x40\x00\x00\x00\x00\x00\x00\x00" }))
	add("type text 20", toAll, with(func(s *shape) { s.typ = "\xa220" }))
	add("type text 02", toAll, with(func(s *shape) { s.typ = "\xa202" }))
	add("no data, type 1", toAll, with(func(s *shape) { s.typ, s.data = "\x01", missing }))
	for _, id := range []value{{"text 7", "\xa17"}, {"text 7 more", "\xa47 up"}, {"1.5", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"}, {"text of brackets", "\xa1["}, {"list of 3", "\x91\x03"}, {"space", "\xa1 "}} {
		add("id "+id.name, toAll, with(func(s *shape) { s.id = id.raw }))
	}
	// Keys of maps in data, as JavaScript converts them.
	for _, k := range []value{{"number", "\x05"}, {"nil", "\xc0"}, {"true", "\xc3"}, {"float", "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"}, {"bin", "\xc4\x01a"}, {"bad bin", "\xc4\x01\xff"}, {"bad text", "\xa1\xff"},
		{"list", "\x92\x01\xc0"}, {"nested list", "\x92\x91\x01\x92\xa1a\x80"}, {"map", "\x81\x01\x02"}, {"ext", "\xd4\x05a"}, {"undefined", "\xd4\x00\x00"}, {"ArrayBuffer", "\xc7\x01\x00a"}, {"2^64-1", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"}} {
		add("key in data "+k.name, toAll, with(func(s *shape) { s.data = "\x92\xa5hello\x81" + k.raw + "\x01" }))
	}
	for _, text := range badText {
		add(fmt.Sprintf("text %x", text), toAll, with(func(s *shape) { s.data = "\x92\xa5hello" + string(msgpack.AppendString(nil, text)) }))
	}
	return append(list, wildReadings()...)
}

// badText is text that is not UTF-8, in all forms.
var badText = []string{
	"\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2a", "\xe0\x80\x80", "\xe0\xa0", "\xe0\xa0a", "\xe1\x80", "\xe1\x80\xff", "\xed\xa0\x80", "\xed\xa0\xbd\xed\xb8\x80", "\xef\xbf",
	"\xf0\x80\x80\x80", "\xf0\x90", "\xf0\x90\x80", "\xf0\x90\x80a", "\xf0\x9f\x98\x80", "\xf1\x80\x80\x80", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "a\x80\x80b", "\xe2\x82\xe2\x82\xac", "\xef\xbb\xbfbom",
	"\xf0\x90\xf0\x90\x80\x80", "\xe1\xa0\xc0", "\xff\xfe\xfd",
}

// wildReadings are the shapes that emitters in other languages write.
func wildReadings() (list []reading) {
	add := func(name, channel, payload string) { list = append(list, broadcast("emitter "+name, channel, payload)) }
	text := func(s string) string { return string(msgpack.AppendString(nil, s)) }
	raw := func(s string) string { return "\xda" + string([]byte{byte(len(s) >> 8), byte(len(s))}) + s } // as written before str8 existed
	uid := text("emitter")
	// PHP: an empty list is an array, also in the place of a map; binary data is text.
	add("PHP, empty lists", toAll, "\x93\xa7emitter\x83\xa4type\x02\xa4data\x92\xa5hello\xa1x\xa3nsp\xa1/\x82\xa5rooms\x90\xa5flags\x90")
	add("PHP, opts an empty list", toAll, arrayOf(uid, mapOf("data", "\x92\xa5hello\xa1x", "type", "\x02", "nsp", "\xa1/"), "\x90"))
	add("PHP, one key short", toAll, "\x93\xa7emitter\x83\xa4data\x92\xa5hello\xa1x\xa3nsp\xa1/\x90")
	add("PHP, rooms a map after a removal", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), "\x82\xa5rooms\x81\x01\xa1b\xa5flags\x90"))
	add("PHP, flags true", toAll+"b#", arrayOf(uid, mapOf("type", "\x02", "data", "\x91\xa5hello", "nsp", "\xa1/"), mapOf("rooms", "\x91\xa1b", "flags", mapOf("broadcast", "\xc3", "json", "\xc3"))))
	add("PHP, binary as text", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xa5\x12\x34\xff\xe2\x82", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", "\x90")))
	// Python: None, sorted or alphabetical keys, empty text for missing values, bytes.
	add("Python, empty text", toAll, "\x93\xa7emitter\x83\xa4data\x92\xa5hello\xa1x\xa4type\x02\xa3nsp\xa1/\x82\xa5flags\xa0\xa5rooms\xa0")
	add("Python, None", toAll, arrayOf(uid, mapOf("data", "\x92\xa5hello\x81\xa1k\xa1v", "type", "\x02", "nsp", "\xa1/"), mapOf("rooms", "\xc0", "flags", mapOf("volatile", "\xc2", "compress", "\xc2"), "except", "\xc0")))
	add("Python, flags None", toAll, arrayOf(uid, mapOf("data", "\x92\xa5hello\xa1x", "type", "\x02", "nsp", "\xa1/"), mapOf("flags", "\xc0", "rooms", "\x91\xa1a")))
	add("Python, bytes for text", toAll, arrayOf("\xc4\x07emitter", "\x83\xc4\x04type\x02\xc4\x04data\x92\xa5hello\xc4\x01x\xc4\x03nsp\xa1/", "\x82\xc4\x05rooms\x91\xa1a\xc4\x05flags\x80"))
	add("Python, raw16 for text", toAll, arrayOf(raw("emitter"), "\x83"+raw("type")+"\x02"+raw("data")+"\x92"+raw("hello")+raw("x")+raw("nsp")+raw("/"), "\x82"+raw("rooms")+"\x91"+raw("a")+raw("flags")+"\x80"))
	// Go: maps in any order, nil slices and maps as nil, an int always as int64, no except.
	add("Go, any order", toAll, arrayOf(uid, mapOf("nsp", "\xa1/", "type", "\x02", "data", "\x92\xa5hello\xa1x"), mapOf("flags", "\x80", "rooms", "\x90")))
	add("Go, nil slice and map", toAll, arrayOf(uid, mapOf("nsp", "\xa1/", "data", "\x92\xa5hello\xa1x", "type", "\xd3\x00\x00\x00\x00\x00\x00\x00\x02"), mapOf("flags", "\xc0", "rooms", "\xc0")))
	add("Go, nsp among the flags", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", mapOf("nsp", "\xa1/", "volatile", "\xc3"))))
	add("Go, flags with text", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", mapOf("volatile", "\xa4true"))))
	// Rust: structs with names; an Option is nil. Without names a struct is an array.
	add("Rust, named", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), mapOf("rooms", "\x91\xa1a", "flags", mapOf("json", "\xc3"))))
	add("Rust, by position", toAll, arrayOf(uid, "\x93\x02\x92\xa5hello\xa1x\xa1/", "\x92\x90\x80"))
	add("Rust, opts by position", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), "\x92\x91\xa1a\x80"))
	add("Rust, bytes as a list of numbers", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\x93\x01\x02\xcc\xff", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", "\x80")))
	// C#, Java: text as before str8, wide numbers, enums and dates in their own form.
	add("C#, wide numbers", toAll, arrayOf(raw("emitter"), mapOf("type", "\xd2\x00\x00\x00\x02", "data", "\x92"+raw("hello")+raw("x"), "nsp", raw("/")), mapOf("rooms", "\xdc\x00\x01"+raw("b"), "flags", "\xde\x00\x00")))
	add("C#, timestamp", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xd7\xff\x00\x00\x00\x00\x65\x53\xf1\x00", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", "\x80")))
	add("Java, float for a number", toAll, arrayOf(uid, mapOf("type", "\xcb\x40\x00\x00\x00\x00\x00\x00\x00", "data", "\x92\xa5hello\xcb\x40\x08\x00\x00\x00\x00\x00\x00", "nsp", "\xa1/"), mapOf("rooms", "\x90", "except", "\x90", "flags", "\x80")))
	// Ruby, Elixir, Lua: symbols and atoms as text, nil, and an empty table as a map.
	add("Ruby, nil", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xc0", "nsp", "\xa1/"), mapOf("rooms", "\xc0", "flags", "\xc0", "except", "\xc0")))
	add("Elixir, keyword list", toAll, arrayOf(uid, mapOf("data", "\x92\xa5hello\xa1x", "nsp", "\xa1/", "type", "\x02"), mapOf("flags", "\x90", "rooms", "\x91\xc4\x01a")))
	add("Lua, rooms an empty table", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), mapOf("rooms", "\x80", "flags", "\x80")))
	add("Lua, all empty tables", toAll, arrayOf(uid, mapOf("type", "\x02", "data", "\x92\xa5hello\x80", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", "\x90", "except", "\x90")))
	add("old, without uid", toAll, arrayOf(mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", "\x80")))
	add("uid nil", toAll, arrayOf("\xc0", mapOf("type", "\x02", "data", "\x92\xa5hello\xa1x", "nsp", "\xa1/"), mapOf("rooms", "\x90", "flags", "\x80")))
	return list
}
