package redisbroker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/crossroom/crossroom/broker"
)

// readBuffer is the size of a connection's read buffer. Names and error texts must
// fit into it: two of the longest names and their prefix do.
const readBuffer = 64 << 10

// conn is one authenticated connection, opened with a go-redis client's dialer and
// credentials but not through the client: go-redis repeats commands by itself, which
// would break at-most-once, reconnects a subscriber without a word about the gap,
// and heeds contexts only in part.
//
// Commands that a subscribed connection can be asked besides PING need RESP3; all others
// speak RESP2. One goroutine reads and one writes. Any may call close and silent.
type conn struct {
	net.Conn
	r       *bufio.Reader
	addr    string
	born    time.Time
	reading atomic.Int64 // when the Read in progress began, in nanoseconds after born; 0: none

	use      use
	resp3    bool        // else RESP2
	standing standing    // of the server, when the connection was opened
	exam     examination // for later
	examined time.Time   // last, for queries
	answers  []any       // to the examination that is underway; the reader's own
	pending  atomic.Bool // an examination is underway
	trip     time.Duration

	once  sync.Once
	cause error // set before done is closed
	done  chan struct{}
}

// dial opens a connection within timeout, to a server that is one of the fleet's.
func (n *nodes) dial(ctx context.Context, opt *redis.Options, timeout time.Duration, use use) (*conn, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	nc, err := rawDial(ctx, opt)
	dialed := err == nil
	var c *conn
	if dialed {
		c, err = n.connect(ctx, nc, opt, use)
	}
	if deadline, ok := parent.Deadline(); err != nil && ok && time.Until(deadline) <= 0 {
		<-ctx.Done() // the network notices a moment earlier that the time is over
	}
	var stray *MembershipError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &stray):
		return nil, err // it says itself where
	case parent.Err() == nil && ctx.Err() != nil:
		late := timedOut(opt.Addr, timeout)
		if !dialed && opt.TLSConfig != nil {
			late.Hint = "no TLS handshake: does the server speak TLS there?"
		}
		return nil, late
	}
	if opt.Addr == sentinelAddr && repeatsURL(err) {
		err = errors.New(urlAsAddr)
	}
	return nil, fmt.Errorf("connect to redis %s: %w", opt.Addr, err)
}

// connect makes a connection of one that the dialer returned.
func (n *nodes) connect(ctx context.Context, nc net.Conn, opt *redis.Options, use use) (*conn, error) {
	c := &conn{Conn: nc, addr: opt.Addr, use: use, born: time.Now(), done: make(chan struct{})}
	if _, _, err := net.SplitHostPort(c.addr); err != nil { // as with Sentinel
		c.addr = nc.RemoteAddr().String()
	}
	c.r = bufio.NewReaderSize(readerFunc(c.read), readBuffer)
	stop := context.AfterFunc(ctx, func() { c.close(ctx.Err()) })
	err := c.handshake(ctx, opt)
	if err == nil {
		err = n.present(c)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close(err)
		return nil, c.cause
	}
	return c, nil
}

// rawDial calls the client's dialer and returns when ctx ends, also if the dialer
// does not heed it; what such a dialer returns afterwards is closed.
func rawDial(ctx context.Context, opt *redis.Options) (net.Conn, error) {
	type result struct {
		nc  net.Conn
		err error
	}
	ch := make(chan result)
	go func() {
		nc, err := opt.Dialer(ctx, opt.Network, opt.Addr)
		select {
		case ch <- result{nc, err}:
		case <-ctx.Done():
			if err == nil {
				nc.Close()
			}
		}
	}()
	select {
	case r := <-ch:
		return r.nc, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// protocol is the version of RESP that the connection asks for.
func (c *conn) protocol() string {
	if c.use == forSubscribing {
		return "3"
	}
	return "2"
}

// handshake authenticates, and makes sure that the server answers, until the connection
// is closed.
func (c *conn) handshake(ctx context.Context, opt *redis.Options) error {
	user, password, err := credentials(ctx, opt)
	if err != nil {
		return err
	}
	var commands []string
	var out []byte
	add := func(args ...string) {
		commands = append(commands, args[0])
		out = appendCommand(out, args...)
	}
	if password != "" {
		if user != "" {
			add("AUTH", user, password)
		} else {
			add("AUTH", password)
		}
	}
	add("HELLO", c.protocol())
	if opt.ClientName != "" {
		add("CLIENT", "SETNAME", opt.ClientName)
	}
	add("PING")
	began := time.Now()
	_, broken := c.Conn.Write(out)
	// A server that does not want us says why, and closes. That may be before it was
	// written to, so what it said is read in any case.
	var refused *ServerError
	for _, command := range commands {
		answer, err := readReply(c.r, command)
		switch {
		case err == nil:
		case refused != nil:
			return refused
		case broken != nil:
			return broken
		default:
			return err
		}
		if refused, _ = answer.(*ServerError); refused != nil {
			refused.hide(user, password)
		}
		switch {
		case command == "HELLO":
			c.standing.mode, c.standing.role = readHello(answer)
			c.resp3 = c.standing.mode != "" && c.protocol() == "3"
		case refused != nil && (command == "AUTH" || !alive(refused)):
			return refused
		}
	}
	c.trip = time.Since(began)
	return nil
}

// alive reports whether a refusal of PING, or of CLIENT, is as good as an answer: the
// user lacks the right, or the server cannot write to its disk (MISCONF), which does not
// concern messages.
func alive(refused *ServerError) bool {
	return refused.Code() == "NOPERM" || refused.Code() == "MISCONF"
}

// present examines a server that has answered, and reads its limits, before the connection is used.
func (n *nodes) present(c *conn) error {
	c.exam = n.examine(c, c.standing)
	c.standing.role = "" // a first time nothing can have changed
	if _, err := c.Conn.Write(append(slices.Clone(c.exam.encoded), limitQuery...)); err != nil {
		return err
	}
	if err := n.examined(c); err != nil {
		return err
	}
	return n.limits.learn(c)
}

// examined waits for the answers to an examination, which nothing else may read at the
// same time.
func (n *nodes) examined(c *conn) error {
	answers := make([]any, len(c.exam.commands))
	for i, command := range c.exam.commands {
		var err error
		if answers[i], err = readReply(c.r, command[0]); err != nil {
			return err
		}
	}
	s := c.exam.read(answers)
	if err := n.judge(c, s); err != nil {
		return err
	}
	c.examined = time.Now()
	if c.standing.role == "" {
		c.standing = s
	}
	return n.elsewhere(c)
}

// answered takes the next answer to the examination that is underway. The last one
// decides, and an error says that the connection is to be given up.
func (n *nodes) answered(c *conn, answer any) error {
	c.answers = append(c.answers, answer)
	if len(c.answers) < len(c.exam.commands) {
		return nil
	}
	s := c.exam.read(c.answers)
	c.answers = c.answers[:0]
	c.pending.Store(false)
	if err := n.judge(c, s); err != nil {
		return err
	}
	return n.elsewhere(c)
}

// credentials follows the order that go-redis documents for its options.
func credentials(ctx context.Context, opt *redis.Options) (user, password string, err error) {
	switch {
	case opt.StreamingCredentialsProvider != nil:
		// What holds now is enough: when it runs out the server ends the connection,
		// and the next one asks again.
		now, cancel, err := opt.StreamingCredentialsProvider.Subscribe(deafListener{})
		if err != nil {
			return "", "", err
		}
		user, password = now.BasicAuth()
		if cancel != nil {
			err = cancel()
		}
		return user, password, err
	case opt.CredentialsProviderContext != nil:
		return opt.CredentialsProviderContext(ctx)
	case opt.CredentialsProvider != nil:
		user, password = opt.CredentialsProvider()
	default:
		user, password = opt.Username, opt.Password
	}
	return user, password, nil
}

type deafListener struct{}

func (deafListener) OnNext(auth.Credentials) {}
func (deafListener) OnError(error)           {}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read reads and notes for silent how long that takes.
func (c *conn) read(p []byte) (int, error) {
	c.reading.Store(max(1, int64(time.Since(c.born))))
	n, err := c.Conn.Read(p)
	c.reading.Store(0)
	return n, err
}

// silent returns for how long the reader has been waiting for a byte; zero while it
// is busy with those it has.
func (c *conn) silent() time.Duration {
	began := c.reading.Load()
	if began == 0 {
		return 0
	}
	return time.Since(c.born) - time.Duration(began)
}

// write writes b within timeout and returns how much of it was handed over.
func (c *conn) write(b []byte, timeout time.Duration) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// close ends the connection for a reason, of which the first counts.
func (c *conn) close(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.done)
		c.Conn.Close()
	})
}

// lost wraps why the connection ended. It is to be called after done.
func (c *conn) lost() error {
	var late *broker.TimeoutError
	var stray *MembershipError
	if errors.As(c.cause, &late) || errors.As(c.cause, &stray) {
		return c.cause // it says itself where
	}
	if c.cause == io.EOF {
		return fmt.Errorf("connection to redis %s: closed by the server: %w", c.addr, io.EOF)
	}
	return fmt.Errorf("connection to redis %s: %w", c.addr, c.cause)
}
