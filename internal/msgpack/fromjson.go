package msgpack

import (
	"encoding/binary"
	"math"

	"github.com/crossroom/crossroom/internal/jsonscan"
)

// FromJSON appends the JSON document in to dst as one value. Keys keep their order,
// and come twice if they do so in the document. Numbers are written as AppendNumber
// does, but integers of up to 64 bits keep all their digits.
//
// The error is a *jsonscan.SyntaxError, and dst is then returned as it was.
func FromJSON(dst, in []byte) ([]byte, error) {
	doc, err := jsonscan.Parse(in)
	if err != nil {
		return dst, err
	}
	type container struct {
		start, count int
		object       bool
	}
	var open []container
	for kind, v := range doc.Tokens() {
		if kind == jsonscan.End {
			c := open[len(open)-1]
			open = open[:len(open)-1]
			dst = putContainerLen(dst, c.start, c.count, c.object)
			continue
		}
		if len(open) > 0 {
			open[len(open)-1].count++
		}
		switch kind {
		case jsonscan.Array, jsonscan.Object:
			open = append(open, container{start: len(dst), object: kind == jsonscan.Object})
			dst = append(dst, 0) // the header of a small one; putContainerLen makes room for another
		case jsonscan.String:
			dst = AppendString(dst, v.Text())
		case jsonscan.Number:
			dst = appendJSONNumber(dst, v)
		case jsonscan.Bool:
			dst = AppendBool(dst, v.Bool())
		default:
			dst = AppendNil(dst)
		}
	}
	return dst, nil
}

func appendJSONNumber(dst []byte, v jsonscan.Value) []byte {
	if n, ok := v.Int(); ok {
		return AppendInt(dst, n)
	}
	if n, ok := v.Uint(); ok {
		return AppendUint(dst, n)
	}
	f, _ := v.Float()
	return AppendNumber(dst, f)
}

// putContainerLen writes the header of a container whose contents stand in dst from
// start+1 on. count includes keys.
func putContainerLen(dst []byte, start, count int, object bool) []byte {
	fix, code := byte(0x90), byte(codeArray16)
	if object {
		count /= 2
		fix, code = 0x80, codeMap16
	}
	if count < 16 {
		dst[start] = fix | byte(count)
		return dst
	}
	width := 2
	if count > math.MaxUint16 {
		width, code = 4, code+1
	}
	n := len(dst)
	dst = append(dst, make([]byte, width)...)
	copy(dst[start+1+width:], dst[start+1:n])
	dst[start] = code
	if width == 2 {
		binary.BigEndian.PutUint16(dst[start+1:], uint16(count))
	} else {
		binary.BigEndian.PutUint32(dst[start+1:], uint32(count))
	}
	return dst
}
