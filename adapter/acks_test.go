package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
)

// answering is a socket whose client answers with its id and what it was sent.
func answering(id string) *talker {
	return &talker{socket: newSocket(id), answer: func(p *adapter.Packet, ack func(args ...any)) {
		ack(map[string]any{"id": id, "got": p.Args()}, "the second value does not travel")
		ack("a second answer does nothing")
	}}
}

// A date is one on every node to those who bind it, in whatever form it travels.
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
		_, err := nodes[0].ns.EmitWithAck(t.Context(), "at", args...)
		ok(t, err)
		for i, s := range sockets {
			var got time.Time
			ok(t, s.next(t).Bind(&got))
			if !got.Equal(when) {
				t.Errorf("node %d got %v", i, got)
			}
		}
	}
}

func TestEmitWithAck(t *testing.T) {
	nodes := fleet(t, 3, adapter.Options{})
	for i, n := range nodes {
		n.addSocket(t, answering(fmt.Sprint("s", i)), "x")
	}
	nodes[1].addSocket(t, &talker{socket: newSocket("empty"), answer: func(_ *adapter.Packet, ack func(args ...any)) { ack() }}, "x")
	mute := nodes[2].add(t, "mute", "x") // cannot answer, and is not waited for
	nodes[2].addSocket(t, answering("elsewhere"))
	acks, err := nodes[0].ns.To("x").EmitWithAck(t.Context(), "question", 7)
	ok(t, err)
	if acks.Expected != 4 || len(acks.Values) != 4 || len(acks.Answered) != 2 {
		t.Fatalf("got %+v", acks)
	}
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
		ok(t, acks.Bind(i, &answer))
		if !slices.Equal(answer.Got, []int{7}) {
			t.Errorf("got %+v", answer)
		}
		from = append(from, answer.ID)
	}
	slices.Sort(from)
	equal(t, "answers", from, []string{"empty", "s0", "s1", "s2"})
	if e := mute.next(t).Event(); e != "question" {
		t.Errorf("got %s", e)
	}
	var arg *adapter.ArgumentError
	for _, i := range []int{-1, 4} {
		if err := acks.Bind(i, new(any)); !errors.As(err, &arg) || arg.Index != i {
			t.Errorf("Bind %d: %v", i, err)
		}
	}
}

func TestEmitWithAckInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		nodes := fleet(t, 2, adapter.Options{RequestsTimeout: time.Hour})
		nodes[0].addSocket(t, answering("a"))
		nodes[1].addSocket(t, &talker{socket: newSocket("asleep")})
		acks, err := nodes[0].ns.Timeout(50*time.Millisecond).EmitWithAck(t.Context(), "x")
		var partial *backplane.PartialError
		if !errors.As(err, &partial) || !errors.Is(err, context.DeadlineExceeded) || len(partial.Coverage.Missing) != 0 {
			t.Fatalf("got %v", err)
		}
		if acks.Expected != 2 || len(acks.Values) != 1 {
			t.Errorf("got %+v", acks)
		}
	})
}

func TestEmitWithAckLocally(t *testing.T) {
	inBothDialects(t, func(t *testing.T, d adapter.Dialect) {
		nodes := fleet(t, 2, adapter.Options{Dialect: d})
		nodes[0].addSocket(t, answering("a"))
		nodes[1].addSocket(t, answering("b"))
		acks, err := nodes[0].ns.Local().EmitWithAck(t.Context(), "x")
		ok(t, err)
		if acks.Expected != 1 || len(acks.Values) != 1 {
			t.Errorf("got %+v", acks)
		}
	})
}

func TestUnencodableAck(t *testing.T) {
	nodes := fleet(t, 2, adapter.Options{})
	nodes[1].addSocket(t, &talker{socket: newSocket("s"), answer: func(_ *adapter.Packet, ack func(args ...any)) { ack(func() {}) }})
	acks, err := nodes[0].ns.EmitWithAck(t.Context(), "x")
	ok(t, err)
	if len(acks.Values) != 1 || acks.Values[0] != nil {
		t.Errorf("got %+v", acks)
	}
	eventually(t, "the bad answer is reported", func() bool {
		return slices.ContainsFunc(nodes[1].errors.all(), func(err error) bool {
			var e *backplane.OpError
			return errors.As(err, &e) && e.Op == "encode acknowledgement of" && e.Name == "s"
		})
	})
}

func TestV5HasNoAcksAndServerEvents(t *testing.T) {
	n := fleet(t, 1, adapter.Options{Dialect: adapter.V5})[0]
	s := n.add(t, "s")
	_, ackErr := n.ns.EmitWithAck(t.Context(), "x")
	_, askErr := n.ns.ServerSideEmitWithAck(t.Context(), "x")
	for what, err := range map[string]error{"EmitWithAck": ackErr, "ServerSideEmitWithAck": askErr, "ServerSideEmit": n.ns.ServerSideEmit(t.Context(), "x")} {
		if !unsupported(err, what) || !strings.Contains(err.Error(), "dialect v5") {
			t.Errorf("%s: %v", what, err)
		}
	}
	ok(t, n.ns.Emit(t.Context(), "end"))
	equal(t, "delivered", s.until(t, "end"), nil)
}
