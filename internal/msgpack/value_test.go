package msgpack_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	oracle "github.com/vmihailenco/msgpack/v5"

	"github.com/crossroom/crossroom/internal/msgpack"
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, _, err := msgpack.AppendValue(nil, v)
	require.NoError(t, err, "%#v", v)
	return b
}

type (
	myString string
	myInt    int16
	inner    struct {
		A int
		B string `json:"b"`
	}
	Outer struct {
		inner
		*Deep
		Named   inner `json:"named"`
		Skipped int   `json:"-"`
		//lint:ignore SA5008 encoding/json takes this for a field named "-"
		Dash    int `json:"-,"`
		hidden  int
		Empty   []int          `json:"empty,omitempty"`
		Zero    time.Time      `json:"zero,omitzero"`
		Quoted  int64          `json:",string"`
		QuotedS string         `json:"qs,string"`
		QuotedP *bool          `json:"qp,string"`
		Any     any            `json:"any"`
		Map     map[myInt]bool `json:"map"`
		B       string         `json:"B"`
		Ptr     **int          `json:"ptr"`
	}
	Deep struct {
		A     int // inner's A is on the same level: neither counts
		C     float32
		Outer int `json:"outer"`
	}
	valueJSON   struct{ X int }
	pointerJSON struct{ X int }
	text        struct{ s string }
	pointerText struct{ s string }
)

func (v valueJSON) MarshalJSON() ([]byte, error)    { return []byte(`{"z":1,"a":[true,null,"é"]}`), nil }
func (v *pointerJSON) MarshalJSON() ([]byte, error) { return []byte(`"by pointer"`), nil }
func (v text) MarshalText() ([]byte, error)         { return []byte("text " + v.s), nil }
func (v *pointerText) MarshalText() ([]byte, error) { return []byte("text " + v.s), nil }

// Values without bytes and dates must have the shape of encoding/json.
func TestAppendValueLikeEncodingJSON(t *testing.T) {
	n := 7
	p := &n
	yes := true
	for _, v := range []any{
		nil, true, 1, int8(-5), uint64(math.MaxUint64), int64(math.MinInt64), uint16(9), 1.5, float32(0.25), float32(0.1), float32(math.MaxFloat32), float32(math.SmallestNonzeroFloat32), 1e300, math.Copysign(0, -1), "", "é🚀\n", myString("x"), myInt(4),
		[]any{}, []any(nil), []string{"a"}, []string(nil), [2]int{1, 2}, [0]int{}, map[string]any{"b": 1, "a": nil}, map[string]any(nil), map[string]int{"z": 1, "y": 2},
		map[int]string{10: "a", 9: "b", -1: "c"}, map[uint8]string{1: "a"}, map[text]int{{"k"}: 1}, map[myString]int{"s": 1},
		struct{}{}, inner{1, "x"}, &inner{2, "y"}, (*inner)(nil), &p,
		Outer{}, Outer{Deep: &Deep{A: 1, C: 2, Outer: 3}, Quoted: 5, QuotedS: `a"b`, QuotedP: &yes, Any: []inner{{3, "q"}}, Map: map[myInt]bool{2: true, 1: false}, Ptr: &p, Empty: []int{1}, hidden: 1},
		json.Number("12"), json.Number(""), json.Number("-1.5e3"), json.RawMessage(`{"b":[1,2],"a":{}}`), json.RawMessage(nil),
		valueJSON{}, &valueJSON{}, (*valueJSON)(nil), []valueJSON{{}}, pointerJSON{1}, &pointerJSON{}, []pointerJSON{{}}, map[string]pointerJSON{"a": {2}},
		text{"t"}, &text{"u"}, []pointerText{{"v"}}, &pointerText{"w"}, pointerText{"not addressable"}, (*pointerText)(nil),
		[]json.Marshaler{valueJSON{}, nil}, big.NewInt(12345), []any{[]any{[]any{map[string]any{"deep": []int{1}}}}},
		make([]int, 15), make([]int, 16), make([]int, 70_000),
	} {
		want, err := json.Marshal(v)
		require.NoError(t, err)
		b, traits, err := msgpack.AppendValue([]byte("before"), v)
		if err != nil || traits != 0 || !bytes.HasPrefix(b, []byte("before")) {
			t.Errorf("%#v: %v, traits %v", v, err, traits)
			continue
		}
		got, err := msgpack.AppendJSON(nil, b[len("before"):], nil)
		var g, w any
		if err != nil || json.Unmarshal(got, &g) != nil || json.Unmarshal(want, &w) != nil || !reflect.DeepEqual(g, w) {
			t.Errorf("%#v: got %.200s, want %.200s, %v", v, got, want, err)
		}
		if reflect.TypeOf(v) != nil && reflect.TypeOf(v).Kind() == reflect.Struct && !bytes.Equal(got, want) {
			t.Errorf("%#v: order: got %s, want %s", v, got, want)
		}
	}
}

func TestAppendValueBinaryAndDates(t *testing.T) {
	when := time.Date(2023, 11, 14, 23, 13, 20, 123_999_999, time.FixedZone("", 3600))
	type blob []byte
	for _, c := range []struct {
		v      any
		want   string
		binary bool
	}{
		{[]byte("ab"), "\xc4\x02ab", true},
		{[]byte{}, "\xc4\x00", true},
		{[]byte(nil), "\xc0", false},
		{blob("ab"), "\xc4\x02ab", true},
		{[2]byte{1, 2}, "\xc4\x02\x01\x02", true},
		{map[string]any{"a": []any{[]byte("x")}}, "\x81\xa1a\x91\xc4\x01x", true},
		{when, "\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b", false},
		{&when, "\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b", false},
		{[]time.Time{when}, "\x91\xd7\x00\x00\x00\x01\x8b\xcf\xe5\x68\x7b", false},
		{math.Inf(1), "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", false},
		{math.Copysign(0, -1), "\x00", false},
		{1 << 40 * 1.0, "\xcf\x00\x00\x01\x00\x00\x00\x00\x00", false},
		{msgpack.Raw("\x92\x01\xc4\x00"), "\x92\x01\xc4\x00", true},
		{[]msgpack.Raw{msgpack.Raw("\x01")}, "\x91\x01", false},
		{msgpack.Raw(nil), "\xc0", false},
		{msgpack.Ext{Type: 7, Data: []byte("abcd")}, "\xd6\x07abcd", true},
	} {
		b, traits, err := msgpack.AppendValue(nil, c.v)
		if assert.NoError(t, err, "%#v", c.v) {
			assert.Equal(t, c.want, string(b), "%#v", c.v)
			assert.Equal(t, c.binary, traits == msgpack.HasBinary, "%#v", c.v)
		}
		traits, err = msgpack.Check(b, 0)
		if assert.NoError(t, err, "Check(%x): %v", b, traits) {
			assert.Equal(t, c.binary, traits == msgpack.HasBinary, "Check(%x): %v", b, traits)
		}
	}
}

type cyclic struct{ Next *cyclic }

func TestAppendValueRefuses(t *testing.T) {
	ring := &cyclic{}
	ring.Next = ring
	list := []any{nil}
	list[0] = list
	dict := map[string]any{}
	dict["x"] = dict
	type named map[string]named
	own := named{}
	own["x"] = own
	nested := func(n int) any {
		var v any
		for range n {
			v = []any{v}
		}
		return v
	}
	deepJSON := json.RawMessage(strings.Repeat("[", 300) + strings.Repeat("]", 300))
	for name, v := range map[string]any{
		"function":        func() {},
		"channel":         make(chan int),
		"complex":         1i,
		"inside":          map[string]any{"a": []any{func() {}}},
		"cyclic pointer":  ring,
		"cyclic slice":    list,
		"cyclic map":      dict,
		"a level more":    nested(msgpack.ValueDepth + 1),
		"cyclic own map":  own,
		"300 + 300":       []any{nested(250), [][]json.RawMessage{{deepJSON}}, map[string]any{"a": wrap(deepJSON, 300)}},
		"UTF-8":           "\xff",
		"UTF-8 key":       map[string]int{"\xff": 1},
		"key type":        map[float64]int{1: 1},
		"raw":             msgpack.Raw("\x92\x01"),
		"raw, two values": msgpack.Raw("\x01\x01"),
		"raw JSON":        json.RawMessage("{"),
		"empty raw JSON":  json.RawMessage(""),
		"number":          json.Number("1x"),
		"spaced number":   json.Number(" 1"),
		"late date":       time.UnixMilli(8_640_000_000_000_001),
		"early date":      time.Time{}.AddDate(-300_000, 0, 0),
		"marshaler":       badJSON{},
		"text":            badText{},
	} {
		dst := []byte("kept")
		out, _, err := msgpack.AppendValue(dst, v)
		var ve *msgpack.ValueError
		if assert.ErrorAs(t, err, &ve, name) {
			assert.Equal(t, "kept", string(out), name)
		}
	}
	_, _, err := msgpack.AppendValue(nil, nested(msgpack.ValueDepth))
	assert.NoError(t, err, "as deep as it may be")
	_, _, err = msgpack.AppendValue(nil, badJSON{})
	assert.ErrorIs(t, err, errBad, "the method's error is lost")
}

func wrap(v any, n int) any {
	for range n {
		v = []any{v}
	}
	return v
}

var errBad = errors.New("bad")

type (
	badJSON struct{}
	badText struct{}
)

func (badJSON) MarshalJSON() ([]byte, error) { return nil, errBad }
func (badText) MarshalText() ([]byte, error) { return nil, errBad }

// Another implementation must read our output as the same value.
func TestAppendValueAgainstOracle(t *testing.T) {
	v := map[string]any{
		"int": int64(-70000), "float": 1.5, "str": strings.Repeat("x", 300), "bin": []byte{1, 2, 3}, "nil": nil, "t": true,
		"list": []any{int64(1), "two", map[string]any{"three": 3.25}}, "long": make([]any, 20),
	}
	var got any
	require.NoError(t, oracle.Unmarshal(encode(t, v), &got))
	want, _ := msgpack.Decode(encode(t, v))
	assert.Equal(t, normal(want), normal(got), "oracle reads %v\nDecode reads", got)
	assert.Equal(t, normal(any(v)), normal(want), "oracle reads %v\nDecode reads", got)
}

// normal converts integers of all widths to int64.
func normal(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normal(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = normal(v[k])
		}
		return out
	}
	if r := reflect.ValueOf(v); r.IsValid() && r.CanInt() {
		return r.Int()
	} else if r.IsValid() && r.CanUint() {
		return int64(r.Uint())
	}
	return v
}

// The rules for which fields appear must be those of encoding/json.
func TestFieldsLikeEncodingJSON(t *testing.T) {
	type Twice struct{ X, Y int }
	type A struct {
		Twice
		X string `json:"x"`
	}
	type B struct{ Twice }
	type Tagged struct {
		Name string `json:"X"`
	}
	type unexported struct{ Seen int }
	type myInt int
	type Recursive struct {
		*Recursive
		N int
	}
	when := time.Time{}
	for _, v := range []any{
		struct {
			A
			B
		}{}, // Twice occurs twice: its fields cancel out
		struct {
			Twice
			Tagged
		}{}, // the tagged X wins
		struct{ unexported }{},
		struct{ *unexported }{&unexported{7}},
		struct{ *unexported }{},
		struct {
			Twice `json:"named"`
			myInt
		}{},
		Recursive{N: 1, Recursive: &Recursive{N: 2}},
		struct {
			A bool           `json:",omitempty"`
			B int            `json:",omitempty"`
			C string         `json:",omitempty"`
			D []int          `json:",omitempty"`
			E map[string]int `json:",omitempty"`
			F *int           `json:",omitempty"`
			G any            `json:",omitempty"`
			H Twice          `json:",omitempty"`
			I [0]int         `json:",omitempty"`
			J float64        `json:",omitempty"`
			K Twice          `json:",omitzero"`
			L [2]int         `json:",omitzero"`
			M *time.Time     `json:",omitzero"`
			N *time.Time     `json:",omitzero"`
		}{M: &when},
		struct {
			A float64 `json:",string"`
			B uint8   `json:",string"`
			//lint:ignore SA5008 encoding/json ignores the option here
			C []int `json:",string"`
		}{1.5, 2, []int{3}},
	} {
		want, err := json.Marshal(v)
		require.NoError(t, err)
		got, err := msgpack.AppendJSON(nil, encode(t, v), nil)
		if assert.NoError(t, err) {
			assert.Equal(t, want, got)
		}
	}
}
