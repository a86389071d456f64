package zishang520

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/broker"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

// Fleet is the adapter of one Socket.IO server, for Server.SetAdapter.
type Fleet struct {
	broker broker.Broker
	opts   adapter.Options
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	begin  sync.Once
	done   sync.WaitGroup
	errs   chan error

	mu     sync.Mutex
	server *adapter.Server
	err    error // of adapter.New; nil if server is set
	spaces map[string]*space

	closing sync.RWMutex // held for reading while run starts a goroutine
	closed  bool
}

// run starts a goroutine that Close waits for.
func (f *Fleet) run(do func()) {
	f.closing.RLock()
	defer f.closing.RUnlock()
	if f.closed {
		go do() // ends soon, because nothing can be sent
		return
	}
	f.done.Go(do)
}

var _ socket.AdapterConstructor = (*Fleet)(nil)

// New makes an adapter on a broker that no other node uses. Options are those of adapter.New; nil means
// the defaults. New does no I/O. If the options are invalid, the server works locally, and the
// error is reported to OnError and returned by Ready.
func New(b broker.Broker, opts *adapter.Options) *Fleet {
	f := &Fleet{broker: b, spaces: map[string]*space{}, errs: make(chan error, 64)}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.OnError == nil && f.opts.Logger == nil {
		f.opts.Logger = slog.Default()
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// New makes the adapter of one namespace. The server calls it.
func (f *Fleet) New(nsp socket.Namespace) socket.Adapter {
	recovers := nsp.Server().Opts().ConnectionStateRecovery() != nil
	f.begin.Do(func() { f.start(recovers) })
	a := newNamespace(f, nsp, recovers)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.spaces[nsp.Name()]
	if s == nil {
		s = newSpace(f, nsp.Name())
		f.spaces[nsp.Name()] = s
		if f.server != nil {
			f.run(s.open)
		} else {
			close(s.opened)
		}
	}
	a.space = s
	s.add(a)
	return a
}

// start makes the server. The caller knows only now whether sessions are kept.
func (f *Fleet) start(recovers bool) {
	onError := f.opts.OnError
	if onError != nil {
		// Errors of this package and of its server are reported one at a time.
		f.opts.OnError = f.report
	}
	if recovers {
		f.opts.OnBroadcast = f.keep(f.opts.OnBroadcast)
	}
	server, err := adapter.New(f.broker, &f.opts)
	f.mu.Lock()
	f.server, f.err = server, err
	f.mu.Unlock()
	if onError != nil {
		f.run(func() { f.reportTo(onError) })
	}
	f.fault(err)
}

// reportTo calls onError with the reported errors, until Close.
func (f *Fleet) reportTo(onError func(error)) {
	for ended := f.ctx.Done(); ; {
		select {
		case err := <-f.errs:
			onError(err)
			continue
		default:
		}
		select {
		case err := <-f.errs:
			onError(err)
		case <-ended:
			return
		}
	}
}

// report queues an error for OnError. If the queue is full, only the logger gets the error.
func (f *Fleet) report(err error) {
	select {
	case f.errs <- err:
	default:
	}
}

// fault logs and reports an error of this package, unless err is nil or the fleet is closed.
func (f *Fleet) fault(err error) {
	if err != nil && f.ctx.Err() == nil && !errors.Is(err, backplane.ErrClosed) {
		f.log(err)
		f.report(err)
	}
}

func (f *Fleet) log(err error) {
	if f.opts.Logger != nil {
		f.opts.Logger.Warn("crossroom", "error", err)
	}
}

// Server returns the server's node in the fleet, for operations that the server's API lacks. It is
// nil before Server.SetAdapter, and if the options were invalid. Its Namespaces hold the
// sockets by their ids. To change sockets of this server, use the server.
func (f *Fleet) Server() *adapter.Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.server
}

// Ready waits until all namespaces that the server has at the call are open. If ctx ends before, it
// returns why one of them is not open.
func (f *Fleet) Ready(ctx context.Context) error {
	f.mu.Lock()
	err := f.err
	var all []*space
	for _, s := range f.spaces {
		all = append(all, s)
	}
	f.mu.Unlock()
	for _, s := range all {
		if err != nil {
			break
		}
		err = s.wait(ctx)
	}
	return err
}

// Close leaves the fleet. Close the server before it, and the broker after it. Close waits for running
// operations, until ctx ends.
func (f *Fleet) Close(ctx context.Context) error {
	var err error
	if server := f.Server(); server != nil {
		err = server.Close(ctx)
	}
	f.closing.Lock()
	f.closed = true
	f.closing.Unlock()
	f.cancel()
	done := make(chan struct{})
	go func() { // ends when all goroutines of f have ended
		f.done.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	}
}

// longestPause is the maximum of the growing pauses between attempts to open a namespace.
const longestPause = 5 * time.Second
