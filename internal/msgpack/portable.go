package msgpack

import (
	"unicode/utf8"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// Portable returns raw, which must be one value or several, in the form that all readers
// take alike. Every date is in the form that all versions of notepack.io read (see
// AppendTime): those before 3 take the standard timestamp for an array. Text that is not
// UTF-8 is what JavaScript makes of it. Everything else stays as it is, byte for byte.
// It returns raw itself if there is nothing to change, or if raw is malformed.
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
