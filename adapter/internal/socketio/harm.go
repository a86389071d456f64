package socketio

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// The codec encodes all messages to Node.js servers, and refuses the content that harms any
// version of these servers or their clients. The check does not depend on which servers are
// connected, because another one may join at any time. Only a broker that Node.js servers
// cannot use (broker.Capabilities.OnlyCrossroom) makes it unnecessary.
//
// The keys of JSON need no check: JSON.parse makes each one a property of the object
// itself, and JSON holds no binary data.

// harmful returns the traits of a msgpack value that harm a version which decodes it. In an
// event to clients it also returns those that harm the code which writes and reads client
// packets.
func (c *Codec) harmful(traits msgpack.Traits, event bool) msgpack.Traits {
	if c.opts.OnlyCrossroom {
		return 0
	}
	harm := msgpack.HasProto | msgpack.HasOddKey | msgpack.HasOddExt
	if event && traits&msgpack.HasBinary != 0 {
		harm |= msgpack.HasOwnProperty | msgpack.HasPlaceholder
	}
	return traits & harm
}

// harmReasons explains each trait.
var harmReasons = map[msgpack.Traits]string{
	msgpack.HasProto:       "every version assigns this key as the prototype of the object",
	msgpack.HasOwnProperty: "beside binary data, servers before socket.io 4.5 and their clients call this key as a method",
	msgpack.HasPlaceholder: "beside binary data, clients take this object for an attachment",
	msgpack.HasOddKey:      "a key that is neither text nor a number",
	msgpack.HasOddExt:      "an extension value of type -1 that is no date",
}

// checkAttachments refuses an event with more binary values than clients accept.
func (c *Codec) checkAttachments(data []byte) error {
	if c.opts.OnlyCrossroom || c.opts.MaxAttachments < 0 || msgpack.Binaries(data) <= c.opts.MaxAttachments {
		return nil
	}
	return &HarmError{
		Path:   harmPath(msgpack.FindBinary(data, c.opts.MaxAttachments), true),
		Reason: fmt.Sprintf("more than %d binary values disconnect clients, and terminate the processes of clients of socket.io 2 (MaxAttachments)", c.opts.MaxAttachments),
	}
}

// harmError returns the error for a harmful event, or for one harmful value.
func harmError(data []byte, harm msgpack.Traits, event bool) *HarmError {
	path, found := msgpack.Find(data, harm)
	return &HarmError{Path: harmPath(path, event), Reason: harmReasons[found]}
}

// harmPath returns the text of a path in an event, or in one value.
func harmPath(path []any, event bool) string {
	root := "args[0]"
	if event && len(path) > 0 {
		switch i, _ := path[0].(int); i {
		case 0:
			root = "event"
		default:
			root = "args[" + strconv.Itoa(i-1) + "]"
		}
		path = path[1:]
	}
	return root + pathText(path)
}

// pathText returns a path in the syntax of JavaScript.
func pathText(path []any) string {
	var b strings.Builder
	for _, step := range path {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			if isIdentifier(step) {
				b.WriteString("." + step)
			} else {
				fmt.Fprintf(&b, "[%q]", step)
			}
		}
	}
	return b.String()
}

func isIdentifier(s string) bool {
	for i, c := range s {
		letter := c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// checkFirst refuses an event at which clients of socket.io 3 and later disconnect. An
// older server may have sent such an event, and a bridge passes it on. data is a sound array.
func checkFirst(message string, data []byte) error {
	r := msgpack.NewReader(data)
	if n, _ := r.ArrayLen(); n > 0 {
		switch r.Kind() {
		case msgpack.String:
			event, _ := r.String()
			return CheckEventName(event)
		case msgpack.Int, msgpack.Float:
			return nil
		}
	}
	return &MessageError{Message: message, Reason: "payload does not begin with an event name"}
}

// CheckEventName refuses the names that Socket.IO reserves, on servers or clients.
func CheckEventName(event string) error {
	if reservedEvent(event) {
		return errReservedName(event)
	}
	return nil
}

func errReservedName(event string) error {
	return &NameError{What: "event", Name: event, Reason: "reserved by Socket.IO"}
}

func reservedEvent(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// inherited reports whether every JavaScript object has a property of this name.
// socket.io 2 looks for sockets and rooms in plain objects.
func inherited(name string) bool {
	switch name {
	case "__proto__", "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable",
		"toLocaleString", "toString", "valueOf",
		"__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__":
		return true
	}
	return false
}

// checkMember refuses a request by id if the socket's id makes servers of socket.io-redis 5
// crash, or respond although they do not have the socket. These servers read V6's numbers
// of leave and disconnect as join and leave [PROTOCOL 12].
func (c *Codec) checkMember(r *wire.Request) error {
	byID := r.Op == wire.OpRoomsOf && c.opts.Dialect == V5 ||
		r.ByID && (r.Op == wire.OpLeave || r.Op == wire.OpDisconnect || r.Op == wire.OpJoin && c.opts.Dialect == V5)
	if !byID || c.opts.OnlyCrossroom || !inherited(r.Member) {
		return nil
	}
	return &NameError{What: "id", Name: r.Member, Reason: "a property of every object, which servers of socket.io-redis 5 mistake for a socket"}
}

// CheckJoin refuses rooms that crash servers of socket.io-redis 5 when a socket joins them.
func (c *Codec) CheckJoin(rooms []string) error {
	if c.opts.OnlyCrossroom || c.opts.Dialect != V5 {
		return nil
	}
	for _, room := range rooms {
		if inherited(room) {
			return &NameError{What: "room", Name: room, Reason: "a property of every object, which servers of socket.io-redis 5 cannot join"}
		}
	}
	return nil
}
