package otelbackplane

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const schema = semconv.SchemaURL

// The attributes that the conventions do not define. The package documentation defines each.
const (
	keyNamespace     = attribute.Key("crossroom.namespace")
	keyPrefix        = attribute.Key("crossroom.prefix")
	keyRooms         = attribute.Key("crossroom.rooms")
	keyRoomCount     = attribute.Key("crossroom.rooms.count")
	keyAllCount      = attribute.Key("crossroom.all.count")
	keyExceptCount   = attribute.Key("crossroom.except.count")
	keyOrigin        = attribute.Key("crossroom.origin")
	keyOutcome       = attribute.Key("crossroom.outcome")
	keyMatched       = attribute.Key("crossroom.members.matched")
	keyDelivered     = attribute.Key("crossroom.members.delivered")
	keySkipped       = attribute.Key("crossroom.members.skipped")
	keyPanicked      = attribute.Key("crossroom.members.panicked")
	keyOperation     = attribute.Key("crossroom.operation")
	keyExpected      = attribute.Key("crossroom.nodes.expected")
	keyAnswered      = attribute.Key("crossroom.nodes.answered")
	keyMissing       = attribute.Key("crossroom.nodes.missing")
	keyMissingNames  = attribute.Key("crossroom.nodes.missing.names")
	keyNode          = attribute.Key("crossroom.node")
	keyReason        = attribute.Key("crossroom.reason")
	keyHeaderIgnored = attribute.Key("crossroom.header.ignored")
	keyProtocol      = attribute.Key("crossroom.protocol")
)

// maxRooms is the maximum number of room names on a span.
const maxRooms = 16

// selection appends the attributes of a message's rooms and exceptions.
func (o *Observer) selection(list []attribute.KeyValue, rooms, all, except []string) []attribute.KeyValue {
	list = append(list, keyRoomCount.Int(len(rooms)), keyExceptCount.Int(len(except)))
	if len(all) > 0 {
		list = append(list, keyAllCount.Int(len(all)))
	}
	if len(rooms) > 0 && !o.opts.HideRooms {
		// StringSlice copies the list, but not the names. They share memory with the message, which is never written
		// to.
		list = append(list, keyRooms.StringSlice(rooms[:min(len(rooms), maxRooms)]))
	}
	return list
}

// failed gives a span the status of an error. The text of the error may contain room names.
func (o *Observer) failed(span trace.Span, err error) {
	kind := semconv.ErrorType(err)
	text := err.Error()
	if o.opts.HideRooms {
		text = kind.Value.AsString()
	}
	span.SetAttributes(kind)
	span.SetStatus(codes.Error, text)
}
