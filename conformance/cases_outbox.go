package conformance

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/crossroom/crossroom/broker"
)

var outboxCases = []Case{
	{Name: "B16_Bounded", Clauses: []Clause{16, 20, 2}, Needs: CanCut, Timing: true, run: caseBounded},
	{Name: "B16_NoWaitForReply", Clauses: []Clause{16}, Needs: CanSlowLink, Timing: true, run: caseNoWait},
	{Name: "B17_Flush", Clauses: []Clause{17, 18}, run: caseFlush},
	{Name: "B17_FlushThenKill", Clauses: []Clause{17}, Needs: CanKill, Timing: true, run: caseFlushKill},
	{Name: "B17_FlushWhileCut", Clauses: []Clause{17, 20}, Needs: CanCut, Timing: true, run: caseFlushCut},
	{Name: "B18_LossOnClose", Clauses: []Clause{18, 21}, Needs: CanCut, Timing: true, run: caseLossOnClose},
}

// losses collects the losses that OnLoss reports, and reports overlapping calls.
type losses struct {
	inside atomic.Int32
	mu     sync.Mutex
	err    error
	sure   int // number of messages
	unsure int
	bytes  int
}

func (l *losses) f(loss broker.Loss) {
	alone := l.inside.Add(1) == 1
	defer l.inside.Add(-1)
	runtime.Gosched() // gives an overlapping call a chance
	l.mu.Lock()
	defer l.mu.Unlock()
	if !alone {
		l.err = fail(18, "a function given to OnLoss was called while it was running")
	}
	if loss.Messages <= 0 || loss.Err == nil {
		l.err = fail(18, "OnLoss reported %+v: no number or no reason", loss)
	}
	if loss.Uncertain {
		l.unsure += loss.Messages
	} else {
		l.sure += loss.Messages
	}
	l.bytes += loss.Bytes
}

func (l *losses) matches(stats broker.Stats) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if uint64(l.sure) != stats.Lost || uint64(l.unsure) != stats.Uncertain {
		return fail(18, "OnLoss reported %d lost and %d uncertain messages, Stats counts %d and %d",
			l.sure, l.unsure, stats.Lost, stats.Uncertain)
	}
	return nil
}

// balanced reports whether every accepted message is accounted for.
func balanced(stats broker.Stats) error {
	if stats.Accepted != stats.Sent+stats.Lost+stats.Uncertain+uint64(stats.QueuedMessages) {
		return fail(18, "%d messages accepted are not %d sent + %d lost + %d uncertain + %d queued",
			stats.Accepted, stats.Sent, stats.Lost, stats.Uncertain, stats.QueuedMessages)
	}
	return nil
}

// caseBounded fills the queue of a node whose link is cut. The queue must fill up, then block Publish, and after the
// outage be delivered in order.
func caseBounded(ctx context.Context, e *env) error {
	const most = 256 << 20
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/full", "r")
	near, err := e.subscribe(ctx, a, broker.Exactly(native.Room("/near", "r")))
	if err != nil {
		return err
	}
	far, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	var reported losses
	stop := a.Broker.OnLoss(reported.f)
	defer stop()
	if err := e.cut(ctx, a, near, 1); err != nil {
		return err
	}
	st := e.from(a, ch)
	st.lossy.Store(true)
	size := 64 << 10
	if limit := a.Broker.Capabilities().MaxPayload; limit > 0 {
		size = min(size, limit)
	}
	// On a busy machine a context may end before Publish has begun. Only several failures in a row mean that the queue
	// is full.
	const full = 3
	accepted, refused, inARow := 0, 0, 0
	for inARow < full && accepted*size < most {
		err := ends(ctx, "Publish", func(ctx context.Context) error { return st.publishSize(ctx, size) })
		switch {
		case err == nil:
			accepted++
			inARow = 0
		case errors.Is(err, context.DeadlineExceeded):
			refused++
			inARow++
		default:
			return fail(16, "Publish while the link was cut, after %d messages, returned %s", accepted, errText(err))
		}
	}
	switch {
	case accepted < 1:
		return fail(16, "Publish waited although no message was queued")
	case inARow < full:
		return fail(16, "Publish accepted %d MiB while the link was cut: the queue has no bound", most>>20)
	}
	if err := balanced(a.Broker.Stats()); err != nil {
		return err
	}
	if err := e.heal(ctx, a, near, 1); err != nil {
		return err
	}
	if err := flushed(ctx, a); err != nil {
		return err
	}
	if err := st.publish(ctx); err != nil {
		return publishFailed(ch, err)
	}
	if err := far.expect(ctx, 16, st, st.started.Load()); err != nil {
		return err
	}
	if err := flushed(ctx, a); err != nil {
		return err
	}
	stats := a.Broker.Stats()
	missing := far.missing(st) - uint64(refused) // these were never accepted
	if missing > stats.Lost+stats.Uncertain {
		return fail(18, "%d accepted messages did not arrive, and Stats counts %d lost and %d uncertain",
			missing, stats.Lost, stats.Uncertain)
	}
	if err := eventually(ctx, func() error { return reported.matches(a.Broker.Stats()) }); err != nil {
		return err
	}
	return balanced(a.Broker.Stats())
}

// caseNoWait publishes over a link with a delay. The delays would add up if Publish waited for the server.
func caseNoWait(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/far", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	if err := a.SlowLink(ctx, 2*shortWait); err != nil {
		return setup("slowing a link", err)
	}
	// With one round trip each these would take 400 times 100 ms or more.
	st := e.from(a, ch)
	for range 400 {
		if err := st.publish(ctx); err != nil {
			return fail(16, "Publish waits for the round trip of each message: %v", err)
		}
	}
	return s.all(ctx, 16, st)
}

func caseFlush(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/flush", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	var reported losses
	defer a.Broker.OnLoss(reported.f)()
	st := e.from(a, ch)
	for range 5 {
		if err := st.must(ctx, 100); err != nil {
			return err
		}
		if err := a.Broker.Flush(ctx); err != nil {
			return fail(17, "Flush without a fault returned %s", errText(err))
		}
		stats, want := a.Broker.Stats(), st.started.Load()
		if stats.Accepted != want || stats.Sent != want || stats.QueuedMessages != 0 || stats.QueuedBytes != 0 {
			return fail(17, "after Flush, of %d messages Stats says %d accepted, %d sent, %d (%d bytes) queued",
				want, stats.Accepted, stats.Sent, stats.QueuedMessages, stats.QueuedBytes)
		}
		if stats.Lost != 0 || stats.Uncertain != 0 {
			return fail(18, "without a fault, Stats says %d lost and %d uncertain", stats.Lost, stats.Uncertain)
		}
		if err := s.expect(ctx, 17, st, want); err != nil {
			return err
		}
	}
	return reported.matches(a.Broker.Stats())
}

func caseFlushKill(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/flush", "r")
	s, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	st := e.from(a, ch)
	if err := st.must(ctx, 300); err != nil {
		return err
	}
	if err := a.Broker.Flush(ctx); err != nil {
		return fail(17, "Flush without a fault returned %s", errText(err))
	}
	if err := a.Kill(ctx); err != nil {
		return setup("killing a node", err)
	}
	return s.await(ctx, 17, func() bool { return s.rec.track(st.id).n == 300 }, nil, func() (string, []any) {
		return "Flush returned nil, the node was killed, and only %d of 300 messages arrived", []any{s.count(st)}
	})
}

func caseFlushCut(ctx context.Context, e *env) error {
	a, b, err := e.pair(ctx)
	if err != nil {
		return err
	}
	ch := native.Room("/flush", "r")
	near, err := e.subscribe(ctx, a, broker.Exactly(native.Room("/near", "r")))
	if err != nil {
		return err
	}
	far, err := e.subscribe(ctx, b, broker.Exactly(ch))
	if err != nil {
		return err
	}
	if err := e.cut(ctx, a, near, 1); err != nil {
		return err
	}
	st := e.from(a, ch)
	st.lossy.Store(true)
	for range 20 {
		if err := st.publish(ctx); err != nil {
			return fail(16, "Publish failed because the link was cut: %v", err)
		}
	}
	lost := false
	switch err := ends(ctx, "Flush", a.Broker.Flush); {
	case err == nil:
		return fail(17, "Flush returned nil while the link was cut, with 20 messages accepted")
	case errors.Is(err, context.DeadlineExceeded):
	default:
		if _, lost = asLoss(err); !lost {
			return fail(17, "Flush while the link was cut returned %s", errText(err))
		}
	}
	if err := e.heal(ctx, a, near, 1); err != nil {
		return err
	}
	switch err := a.Broker.Flush(ctx); {
	case err == nil:
	default:
		var ok bool
		if _, ok = asLoss(err); !ok {
			return fail(17, "Flush after the outage returned %s", errText(err))
		}
		lost = true
	}
	if err := st.publish(ctx); err != nil {
		return publishFailed(ch, err)
	}
	if err := far.all(ctx, 17, st); err != nil {
		return err
	}
	if missing := far.missing(st); missing > 0 && !lost {
		return fail(17, "Flush reported no loss, and %d messages did not arrive", missing)
	}
	return nil
}

// caseLossOnClose closes a node that has queued messages and no link.
func caseLossOnClose(ctx context.Context, e *env) error {
	a, err := e.node(ctx)
	if err != nil {
		return err
	}
	near, err := e.subscribe(ctx, a, broker.Exactly(native.Room("/near", "r")))
	if err != nil {
		return err
	}
	var reported, not losses
	a.Broker.OnLoss(reported.f)
	stop := a.Broker.OnLoss(not.f)
	stop()
	stop() // harmless
	if err := e.cut(ctx, a, near, 1); err != nil {
		return err
	}
	st := e.from(a, native.Room("/lost", "r"))
	st.lossy.Store(true)
	for range 10 {
		if err := st.publishSize(ctx, 100); err != nil {
			return fail(16, "Publish failed because the link was cut: %v", err)
		}
	}
	near.leaving(near.filters())
	err = ends(ctx, "Close", a.Broker.Close)
	stats := a.Broker.Stats()
	if stats.Lost+stats.Uncertain == 0 {
		return fail(18, "Close without a link, with 10 messages queued, and Stats counts no loss")
	}
	loss, isLoss := asLoss(err)
	switch {
	case err == nil:
		return fail(21, "Close returned nil with accepted messages lost")
	case !isLoss && !errors.Is(err, context.DeadlineExceeded):
		return fail(21, "Close with accepted messages lost returned %s", errText(err))
	case isLoss && loss.Messages == 0:
		return fail(21, "the *LossError of Close has no number: %v", loss)
	}
	if err := balanced(stats); err != nil {
		return err
	}
	if stats.QueuedMessages != 0 || stats.QueuedBytes != 0 {
		return fail(18, "after Close, Stats says %d messages are queued", stats.QueuedMessages)
	}
	if err := eventually(ctx, func() error { return reported.matches(a.Broker.Stats()) }); err != nil {
		return err
	}
	not.mu.Lock()
	defer not.mu.Unlock()
	if not.sure+not.unsure > 0 {
		return fail(18, "OnLoss called a function after its stop function had returned")
	}
	return nil
}
