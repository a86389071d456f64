package hub

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFrames(t *testing.T) {
	for _, m := range []Message{
		{Data: []byte{}}, Text("text"), Binary([]byte{0xff}), {Data: []byte("x"), Event: "e", ID: "i"}, {Data: []byte{}, ID: "only"},
	} {
		for _, ack := range []string{"", "ack"} {
			f, err := decode(m.encode(ack))
			require.NoError(t, err)
			assert.Equal(t, m, f.message)
			assert.Equal(t, ack, f.ack)
		}
	}
}

// FuzzDecode: a message of another process is refused, or can be sent to every client.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x01\x0f\x01e\x01i\x01adata"))
	f.Add([]byte("\x01\x00text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := decode(b)
		if err != nil {
			return
		}
		require.NoError(t, frame.message.check())
		again, err := decode(frame.message.encode(frame.ack))
		require.NoError(t, err)
		require.Equal(t, frame.message, again.message)
		require.Equal(t, frame.ack, again.ack)
		text := appendEvent(nil, &frame.message)
		require.Equal(t, 1, bytes.Count(text, []byte("\n\n")), "an event has one end")
		require.False(t, bytes.ContainsRune(text, '\r'))
	})
}

func TestCutText(t *testing.T) {
	assert.Equal(t, "ok", cutText("ok"))
	assert.Equal(t, "a\uFFFDb", cutText("a\xffb"))
	long := cutText(string(bytes.Repeat([]byte("ü"), 100)))
	assert.Equal(t, string(bytes.Repeat([]byte("ü"), 61)), long)
}
