package wire

import (
	"maps"
	"strings"
	"unicode/utf8"
)

// MaxReason limits the reason of a disconnect, in bytes. The rest is cut off.
const MaxReason = 1024

// reasonHeader is the header entry that carries the reason of a disconnect.
const reasonHeader = "disconnect-reason"

// CutReason returns a reason within its limit, in valid UTF-8.
func CutReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "\ufffd")
	if len(reason) <= MaxReason {
		return reason
	}
	n := MaxReason
	for !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// WithReason returns the header of a disconnect. It does not change h.
func WithReason(h Header, reason string) Header {
	if reason == "" {
		return h
	}
	h = maps.Clone(h)
	if h == nil {
		h = make(Header, 1)
	}
	h[reasonHeader] = CutReason(reason)
	return h
}

// ReasonOf returns the reason of a disconnect; empty if it has none.
func ReasonOf(h Header) string { return CutReason(h[reasonHeader]) }
