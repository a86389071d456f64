package adapter

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/adapter/internal/socketio"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// foreign is a leg's knowledge of the foreign peers of its namespace. It is immutable.
//
//	            rooms in except, request 5,   request 0   old   deaf
//	            filter forms of 2, 3, 4
//	5.4.0       no                            no          yes   yes
//	6.0.x       no                            yes         yes   no
//	6.1 on      yes                           yes         no    no
//
// [PROTOCOL 6, 12]. The wire does not distinguish them, so dialect V6 probes: with requests 0 and 5 for a room that
// cannot exist. Peers that all have a response channel of their own, like those from 7.1 on, need no probe.
type foreign struct {
	wire.Unannounced
	old, deaf int
	err       error // why old and deaf are unknown
	counted   time.Time
	probed    time.Time
}

func (k *foreign) younger(age time.Duration) bool { return k != nil && time.Since(k.counted) < age }

// The foreign peers are counted again after that many Heartbeats, if an operation depends on them. They are probed
// again if the count differs, and after that many Heartbeats anyway: a peer may have replaced another one.
const (
	beatsCounted = 2
	beatsProbed  = 20
)

// foreigners returns the knowledge of the foreign peers, not older than age. It queries the broker, and if necessary
// the peers, each for at most half of RequestsTimeout. During an outage it returns the last knowledge.
func (l *leg) foreigners(ctx context.Context, age time.Duration) (*foreign, error) {
	began := time.Now()
	fresh := func(k *foreign) bool { return k.younger(age) || k != nil && k.counted.After(began) }
	if k := l.seen.foreign.Load(); fresh(k) {
		return k, k.err
	}
	select {
	case l.seen.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.seen.turn }()
	before := l.seen.foreign.Load()
	if fresh(before) {
		return before, before.err
	}
	k := &foreign{counted: time.Now()}
	counting, cancel := half(ctx)
	defer cancel()
	var err error
	switch k.Unannounced, err = l.core.Foreign(counting); {
	case err == nil || errors.Is(err, backplane.ErrNotIntroduced): // Go nodes respond like newer servers
	case before == nil || ctx.Err() != nil || errors.Is(err, backplane.ErrClosed):
		return nil, err
	default:
		was := *before
		was.counted = k.counted
		k = &was
		l.know(k)
		return k, k.err
	}
	switch {
	case l.dialect != V6 || k.Total == 0 || k.Responding == k.Total:
	case before != nil && before.err == nil && before.Unannounced == k.Unannounced && time.Since(before.probed) < beatsProbed*l.beat:
		k.old, k.deaf, k.probed = before.old, before.deaf, before.probed
	default:
		l.know(nil) // the probe expects responses of all
		l.probe(ctx, k)
		if k.err != nil && ctx.Err() != nil {
			l.know(before)
			return nil, k.err // that proves nothing
		}
	}
	l.know(k)
	return k, k.err
}

// know sets the knowledge of the foreign peers, for the codec too; nil means none.
func (l *leg) know(k *foreign) {
	l.seen.foreign.Store(k)
	if k == nil || k.err != nil {
		l.codec.SetUnlike(nil)
		return
	}
	l.codec.SetUnlike(&socketio.Unlike{Unannounced: k.Unannounced, Old: k.old, Deaf: k.deaf})
}

// lately is foreigners with the age that most operations accept. Without knowledge it returns a value that says so.
func (l *leg) lately(ctx context.Context) *foreign {
	k, err := l.foreigners(ctx, beatsCounted*l.beat)
	if k == nil {
		k = &foreign{err: err}
	}
	return k
}

// probe finds out how many of the foreign peers are old and deaf. A peer handles requests in order. So a peer is old
// if it has not responded to request 5 an eighth of RequestsTimeout after all have responded to request 0. Deaf peers
// send a response without an id; a peer that has not responded properly an eighth after that is deaf.
func (l *leg) probe(ctx context.Context, k *foreign) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.NewTimer(l.timeout / 2) // not a deadline: missing it proves nothing against a peer
	defer end.Stop()
	select {
	case <-l.codec.Misread():
	default:
	}
	misreads := l.codec.Misreads()
	type answer struct {
		list *backplane.Result[backplane.MemberInfo]
		err  error
	}
	ask := func(f func(context.Context, backplane.Target) (*backplane.Result[backplane.MemberInfo], error)) <-chan answer {
		out := make(chan answer, 1)
		go func() { // ends with ctx
			var a answer
			a.list, a.err = f(ctx, emptyRoom())
			out <- a
		}()
		return out
	}
	five, zero := ask(l.ns.MembersDetail), ask(l.ns.Members)
	var a5, a0 answer
	has5, has0, misread := false, false, false
	var grace <-chan time.Time
	for !has5 || !has0 {
		select {
		case a5 = <-five:
			has5 = true
		case a0 = <-zero:
			has0 = true
		case <-l.codec.Misread():
			misread = true
		case <-end.C:
			cancel()
		case <-grace:
			cancel()
		}
		if grace == nil && (has0 || misread) {
			grace = time.After(l.timeout / 8)
		}
	}
	k.probed = time.Now()
	n0, all0, ok0 := responded(a0.list, a0.err)
	n5, all5, ok5 := responded(a5.list, a5.err)
	switch {
	case a0.list == nil:
		k.err = a0.err
	case a5.list == nil:
		k.err = a5.err
	case !ok0 || !ok5 || all0 != k.Total || all5 != k.Total:
		k.err = multilink.First(a0.err, a5.err)
		if k.err == nil {
			k.err = errChanging
		}
	case int64(k.Total-n0) > l.codec.Misreads()-misreads:
		k.err = a0.err
	default:
		k.old, k.deaf = k.Total-n5, k.Total-n0
		k.old = max(k.old, k.deaf)
	}
}

var errChanging = errors.New("adapter: the number of foreign peers changed while they were probed")

// responded returns how many foreign peers responded, of how many; false if their number is not certain.
func responded(m *backplane.Result[backplane.MemberInfo], err error) (n, all int, ok bool) {
	if m == nil {
		return 0, 0, false
	}
	n = m.Foreign
	all = n
	for _, x := range m.Missing {
		if x.Node == "" && !errors.Is(x.Reason, backplane.ErrPeerLost) {
			all += x.Count
		}
	}
	return n, all, m.Uncounted == nil
}

// emptyRoom selects a room that cannot exist.
func emptyRoom() backplane.Target {
	return backplane.To("empty-" + rand.Text()).Remote()
}

// errDeaf is the reason for Missing foreign peers that do not respond to dialect V6.
var errDeaf = errors.New("adapter: servers of v5 do not respond to dialect v6")

// whole names the deaf peers as Missing in the result of a request to which all other servers respond.
func whole(op wire.Op, f *backplane.Coverage, err error) error {
	if f.Unconfirmed == 0 {
		return err
	}
	f.Missing = append(f.Missing, observe.Missing{Count: f.Unconfirmed, Reason: errDeaf})
	f.Unconfirmed = 0
	reason := errDeaf
	if e, ok := errors.AsType[*backplane.PartialError](err); ok {
		reason = e.Err
	} else if err != nil {
		return err
	}
	return wire.FromAdapter(&backplane.PartialError{Op: op.String(), Coverage: *f, Err: reason})
}
