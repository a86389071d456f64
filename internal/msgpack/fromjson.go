package msgpack

import "github.com/crossroom/crossroom/internal/jsonscan"

// FromJSON appends the JSON document in to dst as one value. Keys keep their order,
// and come twice if they do so in the document. Numbers are written as AppendNumber
// does, but integers of up to 64 bits keep all their digits.
//
// The error is a *jsonscan.SyntaxError, also for more than MaxDepth levels, and dst is
// then returned as it was.
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

// childCounts returns how many tokens are directly in each array and object, in the
// order in which they begin: MessagePack wants to know before they do.
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
