package presence

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/msgpack"
)

// samples has a frame of each kind.
func samples() []frame {
	member := &Member{ID: "1", User: "ana", Node: "n", State: []byte("busy")}
	list := []change{{key: key{"lobby", "1"}, member: member}, {left: true, key: key{"", "2"}, member: &Member{ID: "2", Node: "n", State: []byte{}}}}
	return []frame{
		{kind: frameChanges, epoch: 1 << 63, number: 7, list: list},
		{kind: frameState, epoch: 2, number: 7, digest: 1<<64 - 1, sum: 1 << 60},
		{kind: frameRequest, number: maxNumber, heard: &version{epoch: 6, number: 1<<64 - 1, sum: 5}},
		{kind: frameRequest, epoch: 1},
		{kind: frameSnapshot, epoch: 3, number: 8, sum: 3, id: 4, part: 2, last: true, list: list},
		{kind: frameBye, epoch: 4},
		{kind: frameVersions, epoch: 5, number: 9, versions: []version{{"a", 1, 2, 3}, {"b", 1 << 63, 0, 0}}},
	}
}

// A frame comes out as it went in. What later versions of the layout add is skipped.
func TestFrames(t *testing.T) {
	for _, f := range samples() {
		payload, n := f.append(nil)
		require.Equal(t, len(f.list)+len(f.versions), n)
		for _, c := range f.list {
			f.size += c.size()
		}
		got, err := decode(payload, "n")
		require.NoError(t, err)
		assert.Equal(t, &f, got)

		payload[0]++ // one element more
		payload[1] = frameVersion + 1
		got, err = decode(msgpack.AppendString(payload, "later"), "n")
		require.NoError(t, err)
		assert.Equal(t, &f, got)
	}
}

// Each list ends within the limit of a frame, however large its entries are.
func TestFramesAreLimited(t *testing.T) {
	long := strings.Repeat("x", MaxName)
	list := make([]change, 100)
	for i := range list {
		list[i] = change{key: key{long, long}, member: &Member{ID: long, User: long, State: make([]byte, MaxState)}}
	}
	f := frame{kind: frameSnapshot, epoch: 1<<64 - 1, number: maxNumber, list: list}
	payload, n := f.append(nil)
	assert.LessOrEqual(t, len(payload), maxFrame)
	assert.Positive(t, n)
	assert.Less(t, n, len(list))

	small, _ := (&frame{kind: frameVersions, versions: make([]version, 9000)}).append(nil)
	forged := append(small, make([]byte, maxFrame)...)
	_, err := decode(forged, "n")
	assert.ErrorIs(t, err, errFrame)
}

// A decoder gets what anybody may publish: it returns a frame within the limits, or an error.
func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		payload, _ := s.append(nil)
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := decode(payload, "n")
		if err != nil {
			return
		}
		if got.number > maxNumber {
			t.Errorf("number %d", got.number)
		}
		for _, c := range got.list {
			if err := c.member.check(c.key.room); err != nil {
				t.Error(err)
			}
		}
	})
}
