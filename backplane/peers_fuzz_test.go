package backplane_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/backplane"
)

// FuzzPeers makes a node handle frames of any kind and order, on both control channels. Its
// recorded memory is correct and within the limits.
func FuzzPeers(f *testing.F) {
	frames := [][]byte{
		pack([]any{1, hello, "a", 5, 1, spaces("/a", "/b")}),
		pack([]any{1, hello, "a", 6, 2, nil}),
		pack([]any{1, full, "a", 5, 2, spaces("/a"), 0, 0, 2, []any{"b", "c"}}),
		pack([]any{1, full, "a", 5, 2, spaces("/c"), 0, 1, 2, nil}),
		pack([]any{1, full, "b", 5, 7, spaces()}),
		pack([]any{1, beat, "a", 5, 3, nil}),
		pack([]any{1, beat, "a", 5, uint64max, nil}),
		pack([]any{1, ask, "b", 5, 3, nil, 0, 5, 1}),
		pack([]any{1, bye, "a", 5, 3, nil}),
		pack([]any{1, change, "a", 5, 3, spaces("/d", "/d"), 0, 2, spaces("/a", "/x")}),
		pack([]any{1, change, "a", 5, 9, spaces("/e"), 0, 8, spaces("/d")}),
		pack([]any{1, change, "c", 5, 9, spaces("/e"), 0, 0, spaces("/e")}),
		pack([]any{1, seen, "a", 5, 3, nil, 0, 1, uint64max}),
	}
	var all []byte
	for i, p := range frames {
		one := append([]byte{byte(len(p)), byte(i % 2)}, p...)
		f.Add(one)
		all = append(all, one...)
	}
	f.Add(all)
	f.Add(append(append([]byte{}, all...), all...))
	f.Fuzz(func(t *testing.T, script []byte) {
		n := backplane.NewTable(t)
		for len(script) > 2 {
			size, direct := min(int(script[0]), len(script)-2), script[1]&1 == 1
			n.Take(script[2:2+size], direct)
			script = script[2+size:]
		}
		kept, sum := n.Kept()
		require.Equal(t, sum, kept)
		require.LessOrEqual(t, kept, 64<<20)
		n.Expire()
		kept, sum = n.Kept()
		require.Equal(t, sum, kept)
	})
}

const uint64max = 1<<63 - 1
