package adapter

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/wire"
)

// generationState is a namespace's knowledge of the generations of Node.js servers on a link, besides that of its
// codec.
type generationState struct {
	// others is the number of other servers than Go nodes at the last check; -1: not yet. counted is when they were
	// last counted with that number, in Unix nanoseconds.
	others   atomic.Int64
	counted  atomic.Int64
	reported bool
	foreign  atomic.Pointer[foreign] // nil until known; set by know
	turn     chan struct{}           // holds a token while foreigners runs
}

func newGenerationState() *generationState {
	s := &generationState{turn: make(chan struct{}, 1)}
	s.others.Store(-1)
	return s
}

// sure checks, before binary data is sent in v5's form, that no server has connected since all were found to be v5. It
// queries the broker, unless it has done so within sureFor, and waits sureWithin for the response. If it is not sure,
// the data is sent as to newer servers.
func (l *leg) sure(ctx context.Context) {
	if l.dialect != V5 || !l.codec.UsesBinary5() || time.Now().UnixNano()-l.seen.counted.Load() < int64(sureFor) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sureWithin)
	defer cancel()
	if n, err := l.others(ctx); err != nil || int64(n) != l.seen.others.Load() {
		l.codec.UseBinary5(false)
		l.seen.others.Store(-1)
		return
	}
	l.seen.counted.Store(time.Now().UnixNano())
}

const (
	sureFor    = 50 * time.Millisecond
	sureWithin = 100 * time.Millisecond
)

// look finds out the generations on a link.
func (l *leg) look(ctx context.Context, namespace string, report func(error)) {
	v5, v6 := l.codec.Generations()
	if !v5.IsZero() && !v6.IsZero() && !l.seen.reported {
		l.seen.reported = true
		report(&GenerationsError{Prefix: l.key, Namespace: namespace})
	}
	if l.dialect != V5 {
		return
	}
	// Servers of v5 send binary data in packets of type 5, and their clients need it; it disconnects clients of newer
	// servers. So a node does as v5 does only while all connected servers are known to be v5. Without other servers it
	// does not matter, and the next one may be of any generation.
	if !v6.IsZero() {
		l.codec.UseBinary5(false)
		return
	}
	others, err := l.others(ctx)
	if err == nil && int64(others) == l.seen.others.Load() {
		return
	}
	l.codec.UseBinary5(false)
	l.seen.others.Store(-1)
	if err != nil || others > 0 && l.allV5(ctx) != nil {
		return
	}
	l.seen.others.Store(int64(others))
	l.codec.UseBinary5(others > 0)
}

// others counts the servers that have not announced themselves to Go nodes.
func (l *leg) others(ctx context.Context) (int, error) {
	p, err := l.ns.Peers(ctx)
	if err != nil {
		return 0, err
	}
	return p.Foreign, nil
}

// allV5 ensures that every server on the link is of generation v5, by a harmless request to which newer ones do not
// respond: the members of a room that cannot exist. The error is a *MixedFleetError unless all responded. Go nodes may
// be missing: nothing harms them.
func (l *leg) allV5(ctx context.Context) error {
	found, err := l.ns.Members(ctx, emptyRoom())
	if found == nil {
		return err
	}
	err = aboutForeign(err)
	if e, ok := errors.AsType[*backplane.PartialError](err); ok {
		if n := unnamed(e.Coverage.Missing); n > 0 {
			return &MixedFleetError{
				Op: wire.OpCustom.String(), Total: e.Coverage.Foreign + n, Responding: -1,
				Reason: "not all of them responded to a request of v5",
			}
		}
	}
	if err == nil {
		l.codec.AllV5(found.Foreign)
	}
	return err
}

// aboutForeign returns the error of a request, or nil if only Go nodes are missing.
func aboutForeign(err error) error {
	partial, ok := errors.AsType[*backplane.PartialError](err)
	if !ok || unnamed(partial.Coverage.Missing) > 0 || partial.Coverage.Uncounted != nil {
		return err
	}
	if errors.Is(partial.Err, backplane.ErrNotIntroduced) {
		return nil
	}
	for _, fine := range []error{backplane.ErrPeerLost, backplane.ErrPeerUnresponsive, backplane.ErrNoResponse, backplane.ErrBusy, backplane.ErrTooLarge, context.DeadlineExceeded} {
		if errors.Is(partial.Err, fine) && len(partial.Coverage.Missing) > 0 {
			return nil
		}
	}
	return err
}

// unnamed counts the foreign peers in a list.
func unnamed(list []observe.Missing) (n int) {
	for _, m := range list {
		if m.Node == "" {
			n += m.Count
		}
	}
	return n
}
