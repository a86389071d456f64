package msgpack

import "github.com/crossroom/crossroom/internal/jsonscan"

// FromJSON appends the JSON document in to dst as one value. Keys keep their order, and duplicates are kept. Numbers
// are written like AppendNumber, but integers of up to 64 bits keep all their digits.
//
// The error is a *jsonscan.SyntaxError, also for more than MaxDepth levels. dst is then returned unchanged.
func FromJSON(dst, in []byte) ([]byte, error) { return fromJSON(dst, in, MaxDepth) }

func fromJSON(dst, in []byte, levels int) ([]byte, error) {
	doc, err := jsonscan.ParseWithin(in, levels)
	if err != nil {
		return dst, err
	}
	counts := childCounts(doc)
	for kind, v := range doc.Tokens() {
		switch kind {
		case jsonscan.Array:
			dst = AppendArrayLen(dst, int(counts[0]))
			counts = counts[1:]
		case jsonscan.Object:
			dst = AppendMapLen(dst, int(counts[0]/2)) // keys were counted too
			counts = counts[1:]
		case jsonscan.String:
			dst = AppendString(dst, v.Text())
		case jsonscan.Number:
			dst = appendJSONNumber(dst, v)
		case jsonscan.Bool:
			dst = AppendBool(dst, v.Bool())
		case jsonscan.Null:
			dst = AppendNil(dst)
		}
	}
	return dst, nil
}

// childCounts returns the number of direct children of each array and object, in the order of their starts, because
// MessagePack writes the number first.
func childCounts(doc jsonscan.Value) (counts []uint32) {
	var open []int // indexes into counts
	for kind := range doc.Tokens() {
		if kind == jsonscan.End {
			open = open[:len(open)-1]
			continue
		}
		if len(open) > 0 {
			counts[open[len(open)-1]]++
		}
		if kind == jsonscan.Array || kind == jsonscan.Object {
			open = append(open, len(counts))
			counts = append(counts, 0)
		}
	}
	return counts
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
