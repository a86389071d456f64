package socketio

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// keyExtra is the key of the object that only Crossroom nodes read.
const keyExtra = "crossroom"

// extension holds the values of the object under keyExtra and of the trace headers beside it.
type extension struct {
	native   bool     // n: 1 if a Crossroom node wrote the request or response
	node     string   // node: the id of its author, in forms without a uid
	id       string   // id: the request id, in forms without one
	ids      bool     // ids: 1 if ids of members are enough
	rooms    bool     // rooms: 1 if the names of all rooms are wanted (sharded adapter)
	byID     bool     // one: 1 if opts select the one member with the id (sharded adapter)
	relay    string   // relay: Broadcast.Relay
	err      string   // e: Response.Err
	busy     bool     // busy: 1 for Response.Busy
	more     bool     // more: 1 for Response.More
	rest     bool     // rest: 1 for Response.Rest
	page     int      // page: Request.Page
	after    string   // after: Request.After
	ask      string   // ask: the request in a response with Response.Ask
	notFound bool     // nf: 1 for Response.NotFound
	count    int      // c: Response.Count, except of broadcasts with acknowledgements
	sum      bool     // sum: 1 for Request.CountOnly
	all      []string // all: Broadcast.All and Request.All

	// The entries of h and the trace headers beside the object, their size in bytes, and how
	// many entries were left out.
	header      wire.Header
	headerBytes int
	dropped     int
}

// traceHeaders are the entries of a Header that have a key of their own beside keyExtra,
// sorted. They are the names of W3C trace context and baggage, which tools in Node.js can
// set too.
var traceHeaders = [...]string{"baggage", "traceparent", "tracestate"}

func traceHeader(name string) bool { return slices.Contains(traceHeaders[:], name) }

// add adds one header entry if it is within the limit. Of two entries with the same name
// the first counts.
func (x *extension) add(name, value string) {
	x.headerBytes += len(name) + len(value)
	if _, twice := x.header[name]; twice || x.headerBytes > wire.MaxHeader {
		x.dropped++
		return
	}
	if x.header == nil {
		x.header = make(wire.Header)
	}
	x.header[name] = value
}

// checkHeader refuses a header that exceeds the receivers' limit, or that is not UTF-8.
func checkHeader(message string, h wire.Header) error {
	n := 0
	for name, value := range h {
		n += len(name) + len(value)
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return &MessageError{Message: message, Reason: "header is not valid UTF-8"}
		}
	}
	if n > wire.MaxHeader {
		return &MessageError{Message: message, Reason: "header of " + strconv.Itoa(n) + " bytes"}
	}
	return nil
}

// countHeader returns the number of trace headers and of other headers. Unlike otherHeaders
// it allocates no memory: nearly always there are no others.
func countHeader(h wire.Header) (trace, other int) {
	if _, ok := h["traceparent"]; ok && len(h) == 1 {
		return 1, 0 // nearly always
	}
	for _, name := range traceHeaders {
		if _, ok := h[name]; ok {
			trace++
		}
	}
	return trace, len(h) - trace
}

// otherHeaders returns the sorted names of the headers that are not trace headers.
func otherHeaders(h wire.Header) (names []string) {
	if _, other := countHeader(h); other == 0 {
		return nil
	}
	for name := range h {
		if !traceHeader(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// readJSON reads a member of a request or response if its key is one of Crossroom's.
func (x *extension) readJSON(key string, v jsonscan.Value) {
	if traceHeader(key) {
		x.addJSON(key, v)
	}
	if key != keyExtra || v.Kind() != jsonscan.Object {
		return
	}
	for k, v := range v.Members() {
		switch k {
		case "n":
			x.native = isOne(v)
		case "node":
			x.node = v.Text()
		case "id":
			x.id = v.Text()
		case "relay":
			x.relay = v.Text()
		case "e":
			x.err = v.Text()
		case "busy":
			x.busy = isOne(v)
		case "more":
			x.more = isOne(v)
		case "rest":
			x.rest = isOne(v)
		case "page":
			x.page, _ = intOf(v)
		case "after":
			x.after = v.Text()
		case "ask":
			x.ask = v.Text()
		case "ids":
			x.ids = isOne(v)
		case "rooms":
			x.rooms = isOne(v)
		case "one":
			x.byID = isOne(v)
		case "nf":
			x.notFound = isOne(v)
		case "c":
			x.count, _ = intOf(v)
		case "sum":
			x.sum = isOne(v)
		case "all":
			x.all = nil
			for room := range v.Elements() {
				x.all = append(x.all, textOf(room))
			}
		case "h":
			for name, value := range v.Members() {
				x.addJSON(name, value)
			}
		}
	}
}

// addJSON adds one header entry if it is text.
func (x *extension) addJSON(name string, v jsonscan.Value) {
	if v.Kind() != jsonscan.String {
		x.dropped++
		return
	}
	x.add(name, v.Text())
}

func isOne(v jsonscan.Value) bool {
	n, _ := v.Int()
	return n == 1
}

// intOf returns a count; it refuses negative numbers.
func intOf(v jsonscan.Value) (n int, ok bool) {
	n64, ok := v.Int()
	if !ok || n64 < 0 || n64 > 1<<31-1 {
		return 0, false
	}
	return int(n64), true
}

// readMsgpack reads the value of any key of opts, or at the top level of a msgpack request
// or response, and keeps it if the key is one of Crossroom's. Node.js servers do not read
// these values, so a bad value does not make the message malformed.
func (x *extension) readMsgpack(key string, r *msgpack.Reader) error {
	switch {
	case traceHeader(key) && r.Kind() != msgpack.String:
		x.dropped++
		return r.Skip()
	case traceHeader(key):
		value, err := r.Text()
		if err == nil {
			x.add(key, value)
		}
		return err
	case key != keyExtra || r.Kind() != msgpack.Map:
		return r.Skip()
	}
	raw, err := r.Raw()
	if err != nil {
		return err
	}
	if text, err := msgpack.AppendJSON(nil, raw, nil); err == nil {
		if v, err := jsonscan.Parse(text); err == nil {
			x.readJSON(keyExtra, v)
		}
	}
	return nil
}

// hasObject reports whether an object under keyExtra is needed, given the number of headers
// in it.
func (x *extension) hasObject(other int) bool {
	return x.native || x.relay != "" || len(x.all) > 0 || other > 0
}

// writeJSON appends the members that carry x to a request or response.
func (x *extension) writeJSON(o *object) {
	other := otherHeaders(x.header)
	for _, name := range traceHeaders {
		if value, ok := x.header[name]; ok {
			o.text(name, value)
		}
	}
	if !x.hasObject(len(other)) {
		return
	}
	o.open(keyExtra)
	if x.native {
		o.int("n", 1)
	}
	if x.node != "" {
		o.text("node", x.node)
	}
	if x.id != "" {
		o.text("id", x.id)
	}
	if x.ids {
		o.int("ids", 1)
	}
	if x.rooms {
		o.int("rooms", 1)
	}
	if x.byID {
		o.int("one", 1)
	}
	if x.sum {
		o.int("sum", 1)
	}
	if x.notFound {
		o.int("nf", 1)
	}
	if x.count > 0 {
		o.int("c", x.count)
	}
	if len(x.all) > 0 {
		o.texts("all", x.all)
	}
	if x.err != "" {
		o.text("e", x.err)
	}
	if x.busy {
		o.int("busy", 1)
	}
	if x.more {
		o.int("more", 1)
	}
	if x.rest {
		o.int("rest", 1)
	}
	if x.page > 0 {
		o.int("page", x.page)
		o.text("after", x.after)
	}
	if x.ask != "" {
		o.text("ask", x.ask)
	}
	if len(other) > 0 {
		o.open("h")
		for _, name := range other {
			o.text(name, x.header[name])
		}
		o.close()
	}
	o.close()
}

// keys is how many keys appendMsgpack appends.
func (x *extension) keys() int {
	if x.header == nil && x.relay == "" && !x.native && len(x.all) == 0 {
		return 0 // nearly always
	}
	trace, other := countHeader(x.header)
	if x.hasObject(other) {
		return trace + 1
	}
	return trace
}

// appendMsgpack appends the keys that carry x to opts, or to a request or response.
func (x *extension) appendMsgpack(dst []byte) []byte {
	if x.keys() == 0 {
		return dst
	}
	other := otherHeaders(x.header)
	for left, i := len(x.header)-len(other), 0; left > 0; i++ {
		if value, ok := x.header[traceHeaders[i]]; ok {
			dst = appendText(dst, traceHeaders[i], value)
			left--
		}
	}
	if !x.hasObject(len(other)) {
		return dst
	}
	start := len(msgpack.AppendString(dst, keyExtra))
	dst = append(msgpack.AppendString(dst, keyExtra), 0x80) // an empty map
	if x.native {
		dst = msgpack.AppendInt(msgpack.AppendString(dst, "n"), 1)
		dst[start]++
	}
	if x.relay != "" {
		dst = appendText(dst, "relay", x.relay)
		dst[start]++
	}
	if x.node != "" {
		dst = appendText(dst, "node", x.node)
		dst[start]++
	}
	if len(x.all) > 0 {
		dst = msgpack.AppendArrayLen(msgpack.AppendString(dst, "all"), len(x.all))
		for _, room := range x.all {
			dst = msgpack.AppendString(dst, room)
		}
		dst[start]++
	}
	if x.err != "" {
		dst = appendText(dst, "e", x.err)
		dst[start]++
	}
	if len(other) > 0 {
		dst = msgpack.AppendMapLen(msgpack.AppendString(dst, "h"), len(other))
		for _, name := range other {
			dst = appendText(dst, name, x.header[name])
		}
		dst[start]++
	}
	return dst
}

// appendText appends a key and its text.
func appendText(dst []byte, key, text string) []byte {
	return msgpack.AppendString(msgpack.AppendString(dst, key), text)
}
