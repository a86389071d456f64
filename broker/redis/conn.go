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

// readBuffer is the size of a connection's read buffer in bytes. Names and error texts must fit
// into it. Two of the longest names and their prefix do.
const readBuffer = 64 << 10

// conn is one authenticated connection. It uses the dialer and the credentials of a go-redis
// client, but does not go through the client: go-redis repeats commands by itself, which
// would break at-most-once; it reconnects a subscriber without reporting the gap; and it
// respects contexts only in part.
//
// A subscribed connection needs RESP3 for every command besides PING and the subscribe
// commands. All other connections speak RESP2. One goroutine reads and one writes. Any
// goroutine may call close and idle.
type conn struct {
	net.Conn
	r       *bufio.Reader
	addr    string
	born    time.Time
	reading atomic.Int64 // when the running Read began, in nanoseconds after born; 0: none

	use      use
	resp3    bool          // else RESP2
	standing standing      // of the server, when the connection was opened
	exam     examination   // the commands for later examinations
	examined time.Time     // when the last one ended; only of connections for queries
	answers  []any         // to the running examination; belongs to the reader
	pending  atomic.Bool   // an examination is running
	trip     time.Duration // how long the handshake took

	once  sync.Once
	cause error // set before done is closed
	done  chan struct{}
}

// dial opens a connection within timeout, to a server that belongs to the fleet.
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
		<-ctx.Done() // the network notices the deadline slightly earlier than the context
	}
	var stray *MembershipError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &stray):
		return nil, err // the error has the address
	case parent.Err() == nil && ctx.Err() != nil:
		late := timedOut(opt.Addr, timeout)
		switch {
		case errors.Is(err, errNoCredentials):
			late.Hint = errNoCredentials.Error()
		case !dialed && opt.TLSConfig != nil:
			late.Hint = "no TLS handshake: does the server speak TLS at this address?"
		}
		return nil, late
	}
	if opt.Addr == sentinelAddr && repeatsURL(err) {
		err = errors.New(urlAsAddr)
	}
	return nil, fmt.Errorf("connect to redis %s: %w", opt.Addr, err)
}

// connect makes a conn from a connection that the dialer returned.
func (n *nodes) connect(ctx context.Context, nc net.Conn, opt *redis.Options, use use) (*conn, error) {
	c := &conn{Conn: nc, addr: opt.Addr, use: use, born: time.Now(), done: make(chan struct{})}
	if _, _, err := net.SplitHostPort(c.addr); err != nil { // as with Sentinel
		c.addr = nc.RemoteAddr().String()
	}
	c.r = bufio.NewReaderSize(readerFunc(c.read), readBuffer)
	stop := context.AfterFunc(ctx, func() { c.close(ctx.Err()) })
	err := n.handshake(ctx, c, opt)
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

// rawDial calls the client's dialer. It returns when ctx ends, also if the dialer ignores ctx.
// A connection that such a dialer returns later is closed.
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

// protocol returns the version of RESP that the connection requests.
func (c *conn) protocol() string {
	if c.use == forSubscribing {
		return "3"
	}
	return "2"
}

// handshake authenticates and verifies that the server replies. It ends when ctx ends, or when the
// connection is closed.
func (n *nodes) handshake(ctx context.Context, c *conn, opt *redis.Options) error {
	user, password, err := n.credentials(ctx, opt)
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
	// A server that refuses a client sends the reason and closes, possibly before anything
	// was written to it. Therefore its replies are read also if the write failed.
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
			c.standing.readHello(answer)
			c.resp3 = c.standing.mode != "" && c.protocol() == "3"
		case refused != nil && (command == "AUTH" || !alive(refused)):
			return refused
		}
	}
	c.trip = time.Since(began)
	return nil
}

// alive reports whether a refusal of PING or CLIENT proves that the server is alive and usable:
// the user lacks the permission, or the server cannot write to its disk (MISCONF), which does
// not affect messages.
func alive(refused *ServerError) bool {
	return refused.Code() == "NOPERM" || refused.Code() == "MISCONF"
}

// present examines a server that has replied, and reads its limits, before the connection is used.
func (n *nodes) present(c *conn) error {
	c.exam = n.examine(c, c.standing)
	c.standing.role = "" // the role is compared only from the second examination on
	if _, err := c.Conn.Write(append(slices.Clone(c.exam.encoded), limitQuery...)); err != nil {
		return err
	}
	if err := n.examined(c); err != nil {
		return err
	}
	return n.limits.learn(c)
}

// examined reads the replies to an examination. Nothing else may read from the connection at
// the same time.
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

// answered adds the next reply to the running examination. The last reply decides. An error
// means that the connection must be closed.
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

var errNoCredentials = errors.New("the credentials provider has not returned")

// providersRunning limits the calls of credentials providers that run at once. More are only needed
// while a provider does not return.
const providersRunning = 8

// credentials returns user and password in the order of precedence that go-redis documents. It returns
// when ctx ends, also if a provider ignores ctx.
func (n *nodes) credentials(ctx context.Context, opt *redis.Options) (user, password string, err error) {
	if opt.StreamingCredentialsProvider == nil && opt.CredentialsProviderContext == nil && opt.CredentialsProvider == nil {
		return opt.Username, opt.Password, nil
	}
	type result struct {
		user, password string
		err            error
	}
	late := func() (string, string, error) {
		return "", "", fmt.Errorf("%w: %w", errNoCredentials, ctx.Err())
	}
	select {
	case n.providers <- struct{}{}:
	case <-ctx.Done():
		return late()
	}
	ch := make(chan result, 1)
	go func() {
		defer func() { <-n.providers }()
		user, password, err := provided(ctx, opt)
		ch <- result{user, password, err}
	}()
	select {
	case r := <-ch:
		return r.user, r.password, r.err
	case <-ctx.Done():
		return late()
	}
}

// provided calls the provider of credentials, which may ignore ctx.
func provided(ctx context.Context, opt *redis.Options) (user, password string, err error) {
	switch {
	case opt.StreamingCredentialsProvider != nil:
		// The present credentials are enough. When they expire, the server closes the
		// connection, and the next connection gets new ones.
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
	}
	user, password = opt.CredentialsProvider()
	return user, password, nil
}

type deafListener struct{}

func (deafListener) OnNext(auth.Credentials) {}
func (deafListener) OnError(error)           {}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read reads, and records for idle when the read began.
func (c *conn) read(p []byte) (int, error) {
	c.reading.Store(max(1, int64(time.Since(c.born))))
	n, err := c.Conn.Read(p)
	c.reading.Store(0)
	return n, err
}

// idle returns for how long the reader has been waiting for a byte. It is zero while the reader
// processes bytes.
func (c *conn) idle() time.Duration {
	began := c.reading.Load()
	if began == 0 {
		return 0
	}
	return time.Since(c.born) - time.Duration(began)
}

// write writes b within timeout. It returns how many bytes the system accepted.
func (c *conn) write(b []byte, timeout time.Duration) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// close closes the connection. The cause of the first call counts.
func (c *conn) close(cause error) {
	c.once.Do(func() {
		c.cause = cause
		close(c.done)
		c.Conn.Close()
	})
}

// lost returns why the connection was closed, with its address. Call it after done is closed.
func (c *conn) lost() error {
	var late *broker.TimeoutError
	var stray *MembershipError
	if errors.As(c.cause, &late) || errors.As(c.cause, &stray) {
		return c.cause // the error has the address
	}
	if c.cause == io.EOF {
		return fmt.Errorf("connection to redis %s: closed by the server: %w", c.addr, io.EOF)
	}
	return fmt.Errorf("connection to redis %s: %w", c.addr, c.cause)
}
