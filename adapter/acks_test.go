package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// answering is a socket whose client acknowledges with its id and the arguments that it received.
func answering(id string) *talker {
	return &talker{socket: newSocket(id), answer: func(p *adapter.Packet, ack func(args ...any)) {
		ack(map[string]any{"id": id, "got": p.Args()}, "the second value does not travel")
		ack("a second acknowledgement does nothing")
	}}
}

// Every node binds a date to a time.Time, in whichever form it is sent.
func TestDateWithAck(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	when := time.Date(2026, 11, 23, 3, 4, 5, 678e6, time.UTC)
	var sockets []*talker
	for i, n := range nodes {
		s := answering(fmt.Sprint("s", i))
		n.addSocket(t, s)
		sockets = append(sockets, s)
	}
	for _, args := range [][]any{{when}, {when, []byte("binary")}} {
		_, err := nodes[0].ns.All().EmitWithAck(t.Context(), "at", args...)
		ok(t, err)
		for i, s := range sockets {
			var got time.Time
			ok(t, s.next(t).Bind(&got))
			assert.True(t, got.Equal(when), "node %d got %v", i, got)
		}
	}
}

func TestEmitWithAck(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{})
	for i, n := range nodes {
		n.addSocket(t, answering(fmt.Sprint("s", i)), "x")
	}
	nodes[1].addSocket(t, &talker{socket: newSocket("empty"), answer: func(_ *adapter.Packet, ack func(args ...any)) { ack() }}, "x")
	mute := nodes[2].add(t, "mute", "x") // cannot acknowledge, and is not waited for
	nodes[2].addSocket(t, answering("elsewhere"))
	acks, err := nodes[0].ns.To("x").EmitWithAck(t.Context(), "question", 7)
	ok(t, err)
	require.Equal(t, 4, acks.Expected)
	require.Len(t, acks.Values, 4)
	require.Len(t, acks.Answered, 2)
	var from []string
	for i, v := range acks.Values {
		if v == nil {
			from = append(from, "empty")
			continue
		}
		var answer struct {
			ID  string `json:"id"`
			Got []int  `json:"got"`
		}
		ok(t, adapter.BindArgs(acks.Values[i:], &answer))
		assert.Equal(t, []int{7}, answer.Got, "got %+v", answer)
		from = append(from, answer.ID)
	}
	slices.Sort(from)
	require.Equal(t, []string{"empty", "s0", "s1", "s2"}, from, "acknowledgements")
	assert.Equal(t, "question", mute.next(t).Event())
	var arg *adapter.ArgumentError
	require.ErrorAs(t, adapter.BindArgs(acks.Values, nil, nil, nil, nil, new(any)), &arg)
	assert.Equal(t, 4, arg.Index)
}

func TestEmitWithAckInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{RequestsTimeout: time.Hour})
		nodes[0].addSocket(t, answering("a"))
		nodes[1].addSocket(t, &talker{socket: newSocket("asleep")})
		acks, err := nodes[0].ns.All().Timeout(50*time.Millisecond).EmitWithAck(t.Context(), "x")
		var partial *backplane.PartialError
		require.ErrorAs(t, err, &partial)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, partial.Coverage.Missing)
		assert.Equal(t, 2, acks.Expected)
		assert.Len(t, acks.Values, 1)
	})
}

func TestEmitWithAckLocally(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		nodes[0].addSocket(t, answering("a"))
		nodes[1].addSocket(t, answering("b"))
		acks, err := nodes[0].ns.All().Local().EmitWithAck(t.Context(), "x")
		ok(t, err)
		assert.Equal(t, 1, acks.Expected)
		assert.Len(t, acks.Values, 1)
	})
}

func TestUnencodableAck(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	nodes[1].addSocket(t, &talker{socket: newSocket("s"), answer: func(_ *adapter.Packet, ack func(args ...any)) { ack(func() {}) }})
	acks, err := nodes[0].ns.All().EmitWithAck(t.Context(), "x")
	ok(t, err)
	require.Len(t, acks.Values, 1)
	assert.Nil(t, acks.Values[0])
	eventually(t, "the bad acknowledgement is reported", func() bool {
		return slices.ContainsFunc(nodes[1].errors.all(), func(err error) bool {
			var e *backplane.OpError
			return errors.As(err, &e) && e.Op == "encode acknowledgement of" && e.Name == "s"
		})
	})
}

func TestV5HasNoAcksAndServerEvents(t *testing.T) {
	n := fleet(t, 1, adapter.Options{Dialect: adapter.V5})[0]
	s := n.add(t, "s")
	_, ackErr := n.ns.All().EmitWithAck(t.Context(), "x")
	_, askErr := n.ns.ServerSideEmitWithAck(t.Context(), "x")
	for what, err := range map[string]error{"EmitWithAck": ackErr, "ServerSideEmitWithAck": askErr, "ServerSideEmit": n.ns.ServerSideEmit(t.Context(), "x")} {
		if assert.True(t, unsupported(err, what), "%s: %v", what, err) {
			assert.ErrorContains(t, err, "dialect v5", "%s: %v", what, err)
		}
	}
	ok(t, n.ns.Emit(t.Context(), "end"))
	require.Empty(t, s.until(t, "end"), "delivered")
}
