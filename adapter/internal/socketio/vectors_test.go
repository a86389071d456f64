package socketio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	oracle "github.com/vmihailenco/msgpack/v5"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// vector is a message captured from real packages.
type vector struct {
	Name    string          `json:"name"`
	Dialect string          `json:"dialect"`
	Role    string          `json:"role"`
	Group   string          `json:"group"`
	Channel string          `json:"channel"`
	Kind    string          `json:"payload_kind"`
	Payload []byte          `json:"payload_base64"`
	Decoded json.RawMessage `json:"decoded"`
}

// want returns the vector's decoded field, in the form of plain.
func (v *vector) want(t testing.TB) any {
	d := json.NewDecoder(bytes.NewReader(v.Decoded))
	d.UseNumber()
	var x any
	require.NoError(t, d.Decode(&x), v.Name)
	return notation(t, x)
}

// ns returns the namespace in the vector's channel.
func (v *vector) ns() string { return strings.Split(v.Channel, "#")[1] }

func loadVectors(t testing.TB) []vector {
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var all []vector
	require.NoError(t, json.Unmarshal(b, &all))
	return all
}

// classic returns the vectors of one role that are not of the sharded adapter.
func classic(t testing.TB, role string) []vector {
	return slices.DeleteFunc(loadVectors(t), func(v vector) bool { return v.Dialect == "sharded" || v.Role != role })
}

// notation replaces the vectors' notation for values that JSON does not have.
func notation(t testing.TB, x any) any {
	switch x := x.(type) {
	case json.Number:
		f, err := x.Float64()
		require.NoError(t, err)
		return f
	case []any:
		for i := range x {
			x[i] = notation(t, x[i])
		}
		return x
	case map[string]any:
		if len(x) == 1 || len(x) == 2 && x["$date"] != nil {
			for key, v := range x {
				s := fmt.Sprint(v)
				switch key {
				case "$bin":
					b, err := base64.StdEncoding.DecodeString(s)
					require.NoError(t, err)
					return b
				case "$date":
					when, err := time.Parse(time.RFC3339, s)
					require.NoError(t, err)
					return when
				case "$undefined":
					return nil
				case "$float", "$int":
					f, err := strconv.ParseFloat(s, 64)
					require.NoError(t, err)
					return plain(f)
				}
			}
		}
		for k := range x {
			x[k] = notation(t, x[k])
		}
		return x
	}
	return x
}

// plain makes trees of Go values comparable: numbers are float64, NaN a string.
func plain(x any) any {
	switch x := x.(type) {
	case []any:
		for i := range x {
			x[i] = plain(x[i])
		}
		return x
	case map[string]any:
		for k := range x {
			x[k] = plain(x[k])
		}
		return x
	case time.Time:
		return x.UTC()
	case []byte:
		return x
	case float32:
		return plain(float64(x))
	case float64:
		if x != x {
			return "NaN"
		}
		return x + 0 // -0 is 0
	case ext0:
		return x.value()
	}
	switch v := reflect.ValueOf(x); {
	case !v.IsValid():
		return nil
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return x
}

// ext0 is extension type 0 as the oracle decodes it: only its length, which is enough for
// the vectors.
type ext0 struct{ data []byte }

func (e ext0) value() any {
	switch len(e.data) {
	case 1:
		return nil
	case 8:
		var ms int64
		for _, b := range e.data {
			ms = ms<<8 | int64(b)
		}
		return time.UnixMilli(ms).UTC()
	}
	return e.data
}

var teachOracle = sync.OnceFunc(func() {
	oracle.RegisterExtDecoder(0, ext0{}, func(d *oracle.Decoder, v reflect.Value, n int) error {
		b := make([]byte, n)
		err := d.ReadFull(b)
		v.Set(reflect.ValueOf(ext0{b}))
		return err
	})
})

// byOracle decodes msgpack with another implementation.
func byOracle(t testing.TB, b []byte) any {
	t.Helper()
	teachOracle()
	r := bytes.NewReader(b)
	x, err := oracle.NewDecoder(r).DecodeInterface()
	require.NoError(t, err, "another reader refuses %x", b)
	require.Zero(t, r.Len(), "another reader refuses %x", b)
	return plain(x)
}

// byUs decodes msgpack or JSON with the readers of this module.
func byUs(t testing.TB, b []byte) any {
	t.Helper()
	if len(b) > 0 && b[0] == '{' {
		var err error
		b, err = msgpack.FromJSON(nil, b)
		require.NoError(t, err)
	}
	x, err := msgpack.Decode(b)
	require.NoError(t, err)
	return plain(x)
}

// Our reader and another one decode each captured message to the value that was captured
// with it. This includes the sharded adapter's messages.
func TestVectorValues(t *testing.T) {
	sharded := 0
	for _, v := range loadVectors(t) {
		want := v.want(t)
		assert.Equal(t, want, byUs(t, v.Payload), v.Name)
		if v.Kind == "msgpack" {
			assert.Equal(t, want, byOracle(t, v.Payload), "%s, other reader", v.Name)
		}
		if v.Dialect == "sharded" {
			sharded++
		}
	}
	n := len(loadVectors(t))
	assert.Equal(t, 245, n)
	assert.Equal(t, 47, sharded)
	t.Logf("%d vectors of the sharded adapter were read as values only: it comes later", sharded)
}

// names returns rooms in the core's form: text, each once.
func names(x any) []string {
	list := []string{}
	for _, e := range x.([]any) {
		s, ok := e.(string)
		if !ok {
			s = msgpack.FormatNumber(e.(float64))
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func namesOf(m map[string]any, key string) []string {
	if m[key] == nil {
		return []string{}
	}
	return names(m[key])
}

func flagsOf(m map[string]any) (f wire.Flags) {
	if m["volatile"] == true {
		f |= wire.Volatile
	}
	if m["compress"] == false {
		f |= wire.NoCompress
	}
	return f
}

func holdsBytes(x any) bool {
	switch x := x.(type) {
	case []byte:
		return true
	case []any:
		return slices.ContainsFunc(x, holdsBytes)
	case map[string]any:
		for _, v := range x {
			if holdsBytes(v) {
				return true
			}
		}
	}
	return false
}

// sendsAlike reports whether a Go node sends a broadcast with these opts in exactly the
// same bytes: the same keys in the same order, no unknown flags, no numbers, and no dates
// that v7 cannot read.
func sendsAlike(v *vector, opts map[string]any) bool {
	if !slices.Contains([]string{"v6", "v7", "v8"}, v.Dialect) || v.Name == "v8/data-dates" {
		return false
	}
	for flag := range opts["flags"].(map[string]any) {
		if flag != "volatile" && flag != "compress" {
			return false
		}
	}
	for _, room := range opts["rooms"].([]any) {
		if _, number := room.(float64); number {
			return false
		}
	}
	return true
}

func TestVectorBroadcasts(t *testing.T) {
	checked, exact := 0, 0
	for _, v := range classic(t, "broadcast") {
		want := v.want(t).([]any)
		packet, opts := want[1].(map[string]any), want[2].(map[string]any)
		var b wire.Broadcast
		if err := newCodec(V6).DecodeBroadcast(v.Payload, v.ns(), &b); err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		wantFlags := flagsOf(opts["flags"].(map[string]any))
		if packet["type"] == 5.0 {
			wantFlags |= wire.Binary
		}
		assert.Equal(t, want[0], b.Origin, v.Name)
		assert.Equal(t, wantFlags, b.Flags, v.Name)
		require.Nil(t, b.Header, v.Name)
		assert.Zero(t, b.Seq, v.Name)
		assert.Equal(t, namesOf(opts, "rooms"), append([]string{}, b.Rooms...), v.Name)
		assert.Equal(t, namesOf(opts, "except"), append([]string{}, b.Except...), v.Name)
		assert.Equal(t, packet["data"], byUs(t, b.Payload), v.Name)
		assert.ErrorIs(t, newCodec(V5).DecodeBroadcast(v.Payload, "/elsewhere", &b), wire.ErrForeignNamespace, "%s in another namespace", v.Name)
		_ = newCodec(V6).DecodeBroadcast(v.Payload, v.ns(), &b)
		if sendBroadcast(t, &v, &b, packet, opts) {
			exact++
		}
		checked++
	}
	assert.Equal(t, 94, checked)
	assert.Equal(t, 47, exact)
}

// sendBroadcast encodes the decoded broadcast in both dialects and checks the result with
// another reader. It reports whether the bytes had to equal the captured ones.
func sendBroadcast(t *testing.T, v *vector, b *wire.Broadcast, packet, opts map[string]any) (exact bool) {
	for _, d := range []Dialect{V6, V5} {
		c := newCodec(d)
		c.UseBinary5(true)
		got, err := c.AppendBroadcast(nil, v.ns(), b)
		if err != nil {
			t.Errorf("%s, sent by %s: %v", v.Name, d, err)
			return false
		}
		typ := 2.0
		if d == V5 && holdsBytes(packet["data"]) {
			typ = 5.0
		}
		flags := map[string]any{}
		if b.Flags&wire.Volatile != 0 {
			flags["volatile"] = true
		}
		if b.Flags&wire.NoCompress != 0 {
			flags["compress"] = false
		}
		want := []any{
			b.Origin,
			map[string]any{"type": typ, "data": packet["data"], "nsp": v.ns()},
			map[string]any{"rooms": sentRooms(d, b.Rooms), "except": sentRooms(d, b.Except), "flags": flags},
		}
		assert.Equal(t, any(want), byOracle(t, got), "%s, sent by %s", v.Name, d)
		if d == V6 && sendsAlike(v, opts) {
			exact = true
			assert.Equal(t, v.Payload, got, v.Name)
		}
	}
	return exact
}

func sentRooms(d Dialect, rooms []string) []any {
	list := []any{}
	for _, room := range rooms {
		list = append(list, room)
		if f, err := strconv.ParseFloat(room, 64); d == V6 && err == nil {
			list = append(list, f)
		}
	}
	return list
}

// A broadcast to a room uses the channel on which a Node.js server sends it.
func TestVectorChannels(t *testing.T) {
	for _, v := range classic(t, "broadcast") {
		var b wire.Broadcast
		require.NoError(t, newCodec(V6).DecodeBroadcast(v.Payload, v.ns(), &b))
		_, rest, _ := strings.Cut(v.Channel, "#"+v.ns()+"#")
		want := broker.SocketIO.Broadcast(v.ns())
		if rest != "" && rest != "42#" { // the number room uses the namespace's channel, in both forms
			want = broker.SocketIO.Room(v.ns(), strings.TrimSuffix(rest, "#"))
		}
		if got := newCodec(V6).BroadcastChannel(v.ns(), &b); got != want {
			t.Errorf("%s: %v, want %v", v.Name, got, want)
		}
	}
}
