package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/crossroom/crossroom/broker"
	memorybroker "github.com/crossroom/crossroom/broker/memory"
)

var (
	secretA = bytes.Repeat([]byte("a"), MinSecret)
	secretB = bytes.Repeat([]byte("b"), MinSecret)
	room    = broker.Native.Room("/chat", "lobby")
)

func ring(t testing.TB, secrets ...[]byte) *Ring {
	t.Helper()
	r := new(Ring)
	require.NoError(t, r.Set(secrets...))
	return r
}

// reason returns why a message is refused; zero if it is not.
func reason(f *Failure) Reason {
	if f == nil {
		return 0
	}
	return f.Reason
}

func sign(t testing.TB, s *Signer, ch broker.Channel, message []byte) []byte {
	t.Helper()
	out, err := s.Append([]byte("before"), ch, message)
	require.NoError(t, err)
	return out[len("before"):]
}

// list returns a MessagePack array of n zeros, and object a map of n pairs.
func list(n int) []byte {
	b, _ := msgpack.Marshal(make([]int8, n))
	return b
}

func object(n int) []byte {
	m := make(map[int]int, n)
	for i := range n {
		m[i] = i
	}
	b, _ := msgpack.Marshal(m)
	return b
}

func messages() map[string][]byte {
	all := map[string][]byte{"JSON": []byte(`{"requestId":"x","type":5}`), "JSON with text like a seal": []byte(`{"a":"\",\"crossroom-seal\":\""}`)}
	for _, n := range []int{0, 1, 14, 15, 16, 17, math.MaxUint16 - 1, math.MaxUint16, math.MaxUint16 + 1} {
		all[fmt.Sprintf("list of %d", n)], all[fmt.Sprintf("object of %d", n)] = list(n), object(n)
	}
	return all
}

func TestSignedMessageIsRead(t *testing.T) {
	r := ring(t, secretA)
	s, v := NewSigner(r, "p"), NewVerifier(r, "p")
	for name, message := range messages() {
		out := sign(t, s, room, message)
		require.Nil(t, v.Verify(room, out), name)
		assert.LessOrEqual(t, len(out)-len(message), MaxSize, name)
		if message[0] == '{' {
			var before, after map[string]any
			require.NoError(t, json.Unmarshal(message, &before))
			require.NoError(t, json.Unmarshal(out, &after))
			delete(after, "crossroom-seal")
			assert.Equal(t, before, after)
			continue
		}
		d := msgpack.NewDecoder(bytes.NewReader(out))
		elements := 1
		if isMap(message[0]) {
			n, err := d.DecodeMapLen()
			require.NoError(t, err)
			elements = 2 * n
		} else {
			n, err := d.DecodeArrayLen()
			require.NoError(t, err)
			elements = n
		}
		for range elements - 1 {
			require.NoError(t, d.Skip(), name)
		}
		raw, err := d.DecodeRaw()
		require.NoError(t, err, name)
		assert.Equal(t, extHead, string(raw[:len(extHead)]), name)
		_, err = d.PeekCode()
		assert.Error(t, err, "%s: bytes after the seal", name)
	}
}

func TestMessagesWithoutAForm(t *testing.T) {
	s := NewSigner(ring(t, secretA), "")
	for _, message := range []string{"", "x", "{", "{}", "{x", "\xdc", "\xdc\x00", "\xdd\x00\x00\x00", "\xdf\xff\xff\xff\xff", "\xc0", "\x01"} {
		out, err := s.Append([]byte("kept"), room, []byte(message))
		assert.ErrorIs(t, err, errForm, "%q", message)
		assert.Equal(t, "kept", string(out))
	}
}

// Every bit of a signed message is part of what is signed.
func TestChangedMessages(t *testing.T) {
	r := ring(t, secretA)
	s, v := NewSigner(r, "p"), NewVerifier(r, "p")
	for _, message := range [][]byte{[]byte(`{"type":4,"close":false}`), list(3), object(3), object(16)} {
		out := sign(t, s, room, message)
		for i := range out {
			for bit := range 8 {
				changed := bytes.Clone(out)
				changed[i] ^= 1 << bit
				require.NotNil(t, v.Verify(room, changed), "bit %d of byte %d of %q", bit, i, out)
			}
			require.NotNil(t, v.Verify(room, out[:i]), "%d bytes of %q", i, out)
		}
		for _, more := range []string{"x", "}", "\x00", extHead} {
			require.NotNil(t, v.Verify(room, append(bytes.Clone(out), more...)))
		}
		require.Nil(t, v.Verify(room, out), "the message itself, after all of these")
	}
}

// A message is bound to its channel: one of another kind, namespace, room, protocol or prefix is forged.
func TestMessageOfAnotherChannel(t *testing.T) {
	r := ring(t, secretA)
	s := NewSigner(r, "p")
	message := sign(t, s, room, list(3))
	for _, ch := range []broker.Channel{
		broker.Native.Room("/chat", "lobb"), broker.Native.Room("/chatl", "obby"), broker.Native.Room("/chat", ""),
		broker.Native.Broadcast("/chat"), broker.Native.Requests("/chat"), broker.Native.Responses("/chat"),
		broker.Native.NodeResponses("/chat", "lobby"), broker.Control(), broker.NodeControl("lobby"), broker.SocketIO.Room("/chat", "lobby"),
	} {
		assert.Equal(t, Forged, reason(NewVerifier(r, "p").Verify(ch, message)), "on %v", ch)
	}
	for _, prefix := range []string{"", "p2", "P"} {
		assert.Equal(t, Forged, reason(NewVerifier(r, prefix).Verify(room, message)), "with prefix %q", prefix)
	}
	assert.Nil(t, NewVerifier(r, "p").Verify(room, message))
}

func TestKeys(t *testing.T) {
	r := new(Ring)
	for _, bad := range [][][]byte{nil, {secretA[1:]}, {secretA, nil}, {secretA, secretB, secretA}} {
		assert.Error(t, r.Set(bad...))
		assert.True(t, r.Empty())
	}
	old, both, last := ring(t, secretA), ring(t, secretB, secretA), ring(t, secretB)
	assert.False(t, old.Empty())
	assert.Equal(t, []string{last.IDs()[0], old.IDs()[0]}, both.IDs())
	signed := func(r *Ring) []byte { return sign(t, NewSigner(r, ""), room, list(2)) }
	for _, c := range []struct {
		by, at *Ring
		want   Reason
	}{{old, old, 0}, {old, both, 0}, {both, both, 0}, {both, last, 0}, {last, both, 0}, {both, old, UnknownKey}, {old, last, UnknownKey}} {
		f := NewVerifier(c.at, "").Verify(room, signed(c.by))
		assert.Equal(t, c.want, reason(f), "signed with %v, verified with %v", c.by.IDs(), c.at.IDs())
		if f != nil {
			assert.Equal(t, c.by.IDs()[0], f.Key)
		}
	}
}

func TestUnsigned(t *testing.T) {
	v := NewVerifier(ring(t, secretA), "")
	for name, message := range messages() {
		assert.Equal(t, Unsigned, reason(v.Verify(room, message)), name)
	}
	assert.Equal(t, Unsigned, reason(v.Verify(room, nil)))
}

func TestReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ring(t, secretA)
		s, v := NewSigner(r, ""), NewVerifier(r, "")
		first, second := sign(t, s, room, list(1)), sign(t, s, room, list(1))
		assert.Nil(t, v.Verify(room, second))
		assert.Nil(t, v.Verify(room, first), "a message that was overtaken")
		for range 2 {
			assert.Equal(t, Replayed, reason(v.Verify(room, first)))
			assert.Equal(t, Replayed, reason(v.Verify(room, second)))
		}
		assert.Nil(t, NewVerifier(r, "").Verify(room, first), "another node has not seen it")
		time.Sleep(MaxAge - time.Millisecond)
		assert.Equal(t, Replayed, reason(v.Verify(room, first)))
		assert.Nil(t, NewVerifier(r, "").Verify(room, first))
		time.Sleep(time.Millisecond)
		f := NewVerifier(r, "").Verify(room, first)
		assert.Equal(t, Stale, reason(f))
		assert.Equal(t, MaxAge, f.Age)
	})
}

// A node whose clock is ahead is understood, and its messages cannot be replayed for as long as they pass.
func TestClocks(t *testing.T) {
	for _, ahead := range []time.Duration{-MaxAge + time.Millisecond, MaxAge - time.Millisecond} {
		var message []byte
		r := ring(t, secretA)
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Hour + ahead)
			message = sign(t, NewSigner(r, ""), room, list(1))
		})
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Hour)
			v := NewVerifier(r, "")
			require.Nil(t, v.Verify(room, message), "signed %v ahead", ahead)
			other := NewSigner(r, "")
			for range int(2 * period / 1000) { // a second each, in which others are heard
				require.NotNil(t, v.Verify(room, message))
				require.Nil(t, v.Verify(room, sign(t, other, room, list(1))))
				time.Sleep(time.Second)
			}
		})
	}
}

func TestBrokerSigns(t *testing.T) {
	bus := memorybroker.NewBus(&memorybroker.Options{MaxPayload: 200})
	b := bus.Broker()
	defer b.Close(context.Background())
	r := ring(t, secretA)
	signing := Broker(b, NewSigner(r, "p"))
	limit := signing.Capabilities().MaxPayload
	assert.Equal(t, 200-MaxSize, limit)
	assert.Zero(t, Broker(unlimited{b}, NewSigner(r, "p")).Capabilities().MaxPayload, "of a broker without a limit")
	got := make(chan []byte, 2)
	_, err := signing.Subscribe(t.Context(), collect(got), broker.Exactly(room))
	require.NoError(t, err)
	message := bytes.Repeat([]byte{0}, limit)
	message[0], message[1], message[2] = 0xdc, 0, byte(limit-3)
	require.NoError(t, signing.Publish(t.Context(), room, message))
	assert.Nil(t, NewVerifier(r, "p").Verify(room, <-got), "a message of the stated size")
	assert.ErrorIs(t, signing.Publish(t.Context(), room, []byte("no form")), errForm)
	var size *broker.PayloadError
	assert.True(t, errors.As(signing.Publish(t.Context(), room, append(message, make([]byte, MaxSize)...)), &size))
}

type unlimited struct{ broker.Broker }

func (unlimited) Capabilities() broker.Capabilities { return broker.Capabilities{} }

type collect chan []byte

func (c collect) Deliver(_ broker.Channel, payload []byte) { c <- payload }
func (collect) Interrupted(error)                          {}
func (collect) Resumed()                                   {}

// What a stranger sends is refused, and nothing of it is remembered.
func FuzzVerify(f *testing.F) {
	r := ring(f, secretA)
	s := NewSigner(r, "")
	for _, message := range [][]byte{[]byte(`{"a":1}`), list(2), object(2), list(20), nil, []byte(extHead), []byte("\xdf\xff\xff\xff\xfe"), []byte("\xdd\xff\xff\xff\xfe")} {
		f.Add(message)
		if out, err := s.Append(nil, room, message); err == nil {
			f.Add(out[:len(out)-1])
		}
	}
	v := NewVerifier(ring(f, secretB), "")
	f.Fuzz(func(t *testing.T, message []byte) {
		before := bytes.Clone(message)
		if v.Verify(room, message) == nil {
			t.Fatal("a message without a key is accepted")
		}
		if !bytes.Equal(before, message) || len(v.window.now) > 0 {
			t.Fatal("a refused message is changed or remembered")
		}
		out, err := NewSigner(r, "").Append(nil, room, message)
		if err != nil {
			return
		}
		if fail := NewVerifier(r, "").Verify(room, out); fail != nil {
			t.Fatalf("a signed message is refused: reason %d", fail.Reason)
		}
		again, err := NewSigner(r, "").Append(nil, room, out)
		if bytes.HasPrefix(out, []byte("\xdf\xff\xff\xff\xff")) || bytes.HasPrefix(out, []byte("\xdd\xff\xff\xff\xff")) {
			if err == nil {
				t.Fatal("a list or map got one element more than it can have")
			}
			return
		}
		if err != nil || NewVerifier(r, "").Verify(room, again) != nil {
			t.Fatal("a message that was signed twice is refused")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := NewSigner(ring(b, secretA), "socket.io")
	message, dst := list(200), make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = s.Append(dst, room, message)
	}
}

func BenchmarkVerify(b *testing.B) {
	r := ring(b, secretA)
	s, v := NewSigner(r, "socket.io"), NewVerifier(r, "socket.io")
	all := make([][]byte, 1<<12)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(all) == 0 {
			b.StopTimer()
			for j := range all {
				all[j] = sign(b, s, room, list(200))
			}
			b.StartTimer()
		}
		if v.Verify(room, all[i%len(all)]) != nil {
			b.Fatal("refused")
		}
	}
}
