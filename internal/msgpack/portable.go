package msgpack

import (
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// Portable returns raw, one or several values, in the form that all readers understand alike. Dates are in the form
// that all versions of notepack.io read (see AppendTime), because versions before 3 read the standard timestamp as an
// array. Invalid UTF-8 becomes what JavaScript makes of it. Everything else stays the same, byte for byte. Portable
// returns raw itself if no change is needed, or if raw is malformed.
func Portable(raw []byte) []byte {
	var out []byte
	r, done := NewReader(raw), 0
	for r.Len() > 0 {
		start := r.off
		var err error
		switch r.Kind() {
		case Array: // its elements come next
			_, err = r.ArrayLen()
		case Map:
			_, err = r.MapLen()
		case Extension:
			var e Ext
			if e, err = r.Ext(); err != nil || e.Type != -1 {
				break
			}
			if t, ok := e.Time(); ok {
				out = AppendTime(append(out, raw[done:start]...), t)
				done = r.off
			}
		case String:
			var text []byte
			if text, err = r.text(); err == nil && !utf8.Valid(text) {
				out = AppendString(append(out, raw[done:start]...), string(jsonscan.Valid(text)))
				done = r.off
			}
		default:
			err = r.Skip()
		}
		if err != nil {
			return raw
		}
	}
	if done == 0 {
		return raw
	}
	return append(out, raw[done:]...)
}
