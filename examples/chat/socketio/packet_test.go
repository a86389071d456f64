package socketio

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The examples of https://socket.io/docs/v4/socket-io-protocol/#packet-encoding, and what else the reference parser
// accepts.
func TestParse(t *testing.T) {
	bin := [][]byte{{1, 2}, {3, 4}}
	for text, want := range map[string]*packet{
		`0`:                          {kind: kindConnect, namespace: "/"},
		`0{"token":"123"}`:           {kind: kindConnect, namespace: "/", auth: map[string]any{"token": "123"}},
		`0/admin,`:                   {kind: kindConnect, namespace: "/admin"},
		`0/admin`:                    {kind: kindConnect, namespace: "/admin"},
		`0/admin,{"sid":"oSO0Opak"}`: {kind: kindConnect, namespace: "/admin", auth: map[string]any{"sid": "oSO0Opak"}},
		`1`:                          {kind: kindDisconnect, namespace: "/"},
		`1/admin,`:                   {kind: kindDisconnect, namespace: "/admin"},
		`2["foo"]`:                   {kind: kindEvent, namespace: "/", event: "foo", args: []any{}},
		`2/admin,["bar"]`:            {kind: kindEvent, namespace: "/admin", event: "bar", args: []any{}},
		`212["foo"]`:                 {kind: kindEvent, namespace: "/", id: 12, hasID: true, event: "foo", args: []any{}},
		`2/admin,13["foo",1]`:        {kind: kindEvent, namespace: "/admin", id: 13, hasID: true, event: "foo", args: []any{int64(1)}},
		`2[5,1.5,-0,1e2]`:            {kind: kindEvent, namespace: "/", event: "5", args: []any{1.5, int64(0), 100.0}},
		`2["",null]`:                 {kind: kindEvent, namespace: "/", event: "", args: []any{nil}},
		`20["é",{"a":[[]]}]`:         {kind: kindEvent, namespace: "/", hasID: true, event: "é", args: []any{map[string]any{"a": []any{[]any{}}}}},
		`312[]`:                      {kind: kindAck, namespace: "/", id: 12, hasID: true, args: []any{}},
		`3/admin,13["bar"]`:          {kind: kindAck, namespace: "/admin", id: 13, hasID: true, args: []any{"bar"}},
		`51-["baz",{"_placeholder":true,"num":0}]`:                                              {kind: kindEvent, namespace: "/", event: "baz", args: []any{bin[0]}},
		`52-/admin,["baz",{"a":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]`: {kind: kindEvent, namespace: "/admin", event: "baz", args: []any{map[string]any{"a": []any{bin[1]}}, bin[0]}},
		`51-14["foo",{"_placeholder":true,"num":0}]`:                                            {kind: kindEvent, namespace: "/", id: 14, hasID: true, event: "foo", args: []any{bin[0]}},
		`61-15["bar",{"_placeholder":true,"num":0}]`:                                            {kind: kindAck, namespace: "/", id: 15, hasID: true, args: []any{"bar", bin[0]}},
		`51-["unused"]`: {kind: kindEvent, namespace: "/", event: "unused", args: []any{}},
	} {
		got, n, err := parseText([]byte(text), 10)
		if err == nil && n > 0 {
			err = got.attach(bin[:n])
		}
		if assert.NoError(t, err, text) {
			assert.Equal(t, want, got, text)
		}
	}
}

// What the reference parser refuses, and what the protocol's text forbids.
func TestParseErrors(t *testing.T) {
	for _, text := range []string{
		``, `7`, `999`, `a`, `abc`, ` 2["a"]`, "2[\"\xff\"]",
		`2`, `2/admin,`, `2"text"`, `2{}`, `2[]`, `2["foo"`, `2["foo"]]`, `2["foo"]{}`, `2abc["foo"]`, `2/admin,{}`, `2/admin,"invalid"`,
		`2[null,"bar"]`, `2[true,"foo"]`, `2[{"toString":"foo"}]`, `2[1.5]`, `2["disconnect","123"]`, `2["connect"]`, `2["newListener"]`,
		`2["a",1e999]`, `2-1["a"]`, `218446744073709551616["a"]`,
		`0/admin,"invalid"`, `0[]`, `0null`, `0"x"`, `0{`, `1{}`, `1/admin,{}`, `1/admin,[]`,
		`3[]`, `3/admin,`, `31{}`, `31`, `312"x"`,
		`4{"message":"no"}`, `4`,
		`5`, `5["a"]`, `51`, `5-["a"]`, `50-["a"]`, `5-1-["a"]`, `5+1-["a"]`, `51.5-["a"]`, `5a-["a"]`, `511-["a"]`, `59999999999999999999-["a"]`,
		`61-["bar"]`,
	} {
		p, n, err := parseText([]byte(text), 10)
		assert.Error(t, err, "%q: accepted as %+v with %d attachments", text, p, n)
	}
	for _, text := range []string{
		`51-["a",{"_placeholder":true,"num":1}]`,
		`51-["a",{"_placeholder":true,"num":-1}]`,
		`51-["a",{"_placeholder":true,"num":"0"}]`,
		`51-["a",{"_placeholder":true,"num":0.5}]`,
		`51-["a",{"_placeholder":true}]`,
	} {
		p, _, err := parseText([]byte(text), 10)
		require.NoError(t, err, text)
		assert.Error(t, p.attach([][]byte{{1}}), "%s: accepted", text)
	}
}

// Deep nesting is refused or read, but the stack is limited.
func TestParseDeep(t *testing.T) {
	for _, depth := range []int{100, 1_000_000} {
		text := `2["a",` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `]`
		_, _, err := parseText([]byte(text), 10)
		assert.Equal(t, depth > 10_000, err != nil, "%d levels: %v", depth, err)
	}
}

func TestOptionDefaults(t *testing.T) {
	o := (*Options)(nil).withDefaults()
	if o.PingInterval != 25*time.Second || o.PingTimeout != 20*time.Second || o.MaxPayload != 1_000_000 || o.MaxAttachments != 10 || o.Logger == nil {
		t.Errorf("got %+v", o)
	}
	in := Options{MaxQueue: 7, PingInterval: -1, Origins: []string{"a"}}
	o = in.withDefaults()
	in.Origins[0] = "b"
	assert.Equal(t, 7, o.MaxQueue)
	assert.Equal(t, 25*time.Second, o.PingInterval)
	assert.Equal(t, "a", o.Origins[0])
}
