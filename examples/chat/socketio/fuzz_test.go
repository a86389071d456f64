package socketio

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

// FuzzDecoder feeds the decoder a text and what follows it, in parts. No input may make it panic, or keep more than
// its limits. An accepted packet is the same after encoding it for a client and reading it again.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		`2["a",1,"é",null]`, `2/chat,7["say",{"room":"lobby"}]`, `31[]`, `0{"name":"ada"}`, `1/chat,`,
		`51-["f",{"_placeholder":true,"num":0}]`, `62-/chat,1[{"_placeholder":true,"num":1}]`, `2[1e400]`, `59-["x"]`,
	} {
		f.Add([]byte(s), []byte("ab"), uint8(2))
	}
	b := memorybroker.NewBus(nil).Broker()
	server, err := adapter.New(b, nil)
	require.NoError(f, err)
	root, err := server.Of(context.Background(), "/")
	require.NoError(f, err)
	f.Cleanup(func() { server.Close(context.Background()); b.Close(context.Background()) })

	f.Fuzz(func(t *testing.T, text, tail []byte, parts uint8) {
		const limit = 1 << 12
		d := decoder{maxPayload: limit, maxAttachments: 4}
		size := len(text)
		p, err := d.text(text)
		for i := 0; err == nil && p == nil; i++ {
			require.NotEqual(t, 4, i, "more than four attachments wanted")
			part := tail
			if parts > 1 {
				part = tail[:len(tail)/int(parts)]
			}
			size += len(part)
			p, err = d.binary(part)
		}
		if err != nil {
			return
		}
		require.LessOrEqual(t, size, limit, "bytes accepted, %+v", d)
		require.False(t, d.waiting(), "bytes accepted, %+v", d)
		require.Nil(t, d.attachments, "bytes accepted, %+v", d)
		if p.kind != kindEvent && p.kind != kindAck {
			return
		}
		frames, err := root.AnswerFrames(p.id, p.args...)
		if err != nil {
			return // nested deeper than the fleet's wire allows
		}
		again := decoder{maxPayload: 1 << 20, maxAttachments: 1 << 16}
		q, err := again.text(frames.Text)
		for _, a := range frames.Attachments {
			if err != nil {
				break
			}
			q, err = again.binary(a)
		}
		if err != nil || q == nil || q.id != p.id || !same(q.args, p.args) {
			t.Fatalf("%q: %+v\nafterwards %q: %+v, %v", text, p, frames.Text, q, err)
		}
	})
}

// same compares values as JavaScript sees them: numbers by value.
func same(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !same(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k := range a {
			if v, has := b[k]; !has || !same(a[k], v) {
				return false
			}
		}
		return true
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case int64, float64:
		return number(a) == number(b)
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}
