package conformance

import (
	"bytes"
	"context"
	"errors"

	"github.com/crossroom/crossroom/broker"
)

var payloadCases = []Case{
	{Name: "B06_Sizes", Clauses: []Clause{6, 4}, run: caseSizes},
	{Name: "B06_TooLarge", Clauses: []Clause{6}, run: caseTooLarge},
	{Name: "B07_Overwritten", Clauses: []Clause{7}, run: caseOverwritten},
	{Name: "B07_OverwrittenWhileQueued", Clauses: []Clause{7, 16}, Needs: CanCut, run: caseOverwrittenQueued},
	{Name: "B08_Kept", Clauses: []Clause{8}, run: caseKept},
}

// largest is the largest payload that the suite sends.
const largest = 64 << 20

func caseSizes(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/size", "r")
	s, err := e.subscribe(ctx, b, native.EveryRoom("/size"))
	if err != nil {
		return err
	}
	limit := a.Broker.Capabilities().MaxPayload
	if limit <= 0 {
		limit = 1 << 20
	}
	// One and zero bytes have no room for a number.
	s.rec.expectRaw()
	small := [][]byte{{}, {'x'}, nil, {0}}
	for _, p := range small {
		if err := a.Broker.Publish(ctx, ch, p); err != nil {
			return publishFailed(ch, err)
		}
	}
	st := e.from(a, ch)
	sizes := []int{header, 127, 128, 1000, 4095, 4096, 4097, 16384, 65535, 65536, 65537, 1 << 20}
	if limit <= largest/8 {
		sizes = append(sizes, limit-1, limit)
	}
	for _, size := range sizes {
		if size > limit || size < header {
			continue
		}
		if err := st.publishSize(ctx, size); err != nil {
			return fail(6, "a payload of %d bytes, with a limit of %d, failed: %v", size, limit, err)
		}
		if err := s.all(ctx, 6, st); err != nil {
			return err
		}
	}
	return s.wantRaw(6, ch, small...)
}

func caseTooLarge(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	limit := a.Broker.Capabilities().MaxPayload
	switch {
	case limit == 0:
		return skip("the broker claims no MaxPayload")
	case limit >= largest:
		return skip("MaxPayload is %d, too large to try", limit)
	}
	ch := native.Room("/size", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	before := a.Broker.Stats()
	for _, over := range []int{1, limit} {
		err := a.Broker.Publish(ctx, ch, make([]byte, limit+over))
		var size *broker.PayloadError
		if !errors.As(err, &size) {
			return fail(6, "a payload of %d bytes, with a limit of %d, returned %s", limit+over, limit, errText(err))
		}
		if size.Size != limit+over || size.Max != limit {
			return fail(6, "the *PayloadError for %d bytes with a limit of %d says %d and %d", limit+over, limit, size.Size, size.Max)
		}
	}
	if after := a.Broker.Stats(); after.Accepted != before.Accepted {
		return fail(6, "a refused payload was counted as accepted")
	}
	return e.one(ctx, s, a, ch) // the recorder reports the large ones if they were sent
}

// caseOverwritten relies on publish, which overwrites every payload. Here the receiver is blocked, so that queued
// payloads are overwritten before it reads them.
func caseOverwritten(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/write", "r")
	var subs []*sub
	for _, n := range []*Node{a, b} {
		s, err := e.subscribe(ctx, n, broker.Exactly(ch))
		if err != nil {
			return err
		}
		s.rec.blameForeign(7)
		s.rec.holdUp()
		subs = append(subs, s)
	}
	st := e.from(a, ch)
	for i := range 100 {
		if err := st.publishSize(ctx, 100*(i%3+1)); err != nil {
			return publishFailed(ch, err)
		}
	}
	for _, s := range subs {
		s.rec.letGo()
	}
	for _, s := range subs {
		if err := s.all(ctx, 7, st); err != nil {
			return err
		}
	}
	return nil
}

func caseOverwrittenQueued(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/write", "r")
	far, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	near, err := e.subscribe(ctx, a, broker.Exactly(ch))
	if err != nil {
		return err
	}
	far.rec.blameForeign(7)
	near.rec.blameForeign(7)
	if err := e.cut(ctx, a, near, 1); err != nil {
		return err
	}
	st := e.from(a, ch)
	st.lossy.Store(true)
	for range 50 {
		if err := st.publish(ctx); err != nil {
			return fail(16, "Publish failed while the link was cut: %v", err)
		}
	}
	if err := e.heal(ctx, a, near, 1); err != nil {
		return err
	}
	if err := flushed(ctx, a); err != nil {
		return err
	}
	st.lossy.Store(false)
	return far.expect(ctx, 7, st, st.started.Load()+1)
}

func caseKept(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Broadcast("/kept")
	var subs []*sub
	for range 2 {
		for _, n := range []*Node{a, b} {
			s, err := e.subscribe(ctx, n, native.EveryRoom("/kept"))
			if err != nil {
				return err
			}
			subs = append(subs, s)
		}
	}
	st := e.from(a, ch)
	// Enough messages to reuse every buffer: some large, many small.
	for i := range 1000 {
		size := 64
		if i%50 == 0 {
			size = 64 << 10
		}
		if limit := a.Broker.Capabilities().MaxPayload; limit > 0 {
			size = min(size, limit)
		}
		if err := st.publishSize(ctx, size); err != nil {
			return publishFailed(ch, err)
		}
		if i%100 == 99 {
			for _, s := range subs {
				if err := s.all(ctx, 1, st); err != nil {
					return err
				}
			}
		}
	}
	first := subs[0].rec
	first.mu.Lock()
	defer first.mu.Unlock()
	for i, k := range first.kept {
		if id, _, err := decode(bytes.Clone(k.payload)); err != nil || id != st.id {
			return fail(8, "the payload of delivery %d was written to after it had been delivered", i+1)
		}
	}
	return nil
}
