package natsbroker_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker"
	"github.com/crossroom/crossroom/broker/internal/brokertest"
	natsbroker "github.com/crossroom/crossroom/broker/nats"
	"github.com/crossroom/crossroom/conformance/tcpproxy"
	"github.com/crossroom/crossroom/internal/servers"
)

// ended tests a connection that the server closes for a reason, in end. Receivers get Interrupted with
// that reason. While it persists, it is the reason of losses and
// in the log. After heal everything works again.
type ended struct {
	b    *natsbroker.Broker
	log  *brokertest.Log
	end  func()
	heal func()
	// ends is the reason of the interruption. It or stays is the reason of the losses
	// during the outage.
	ends, stays error
}

// hurried are options with which queued messages are lost at once.
func hurried(log *brokertest.Log) *natsbroker.Options {
	opts := quick()
	opts.QueueAge = 300 * time.Millisecond
	opts.Logger = log.Logger()
	return opts
}

func (e *ended) test(t *testing.T) {
	t.Helper()
	r := record(t)
	subscribe(t, e.b, r, broker.Exactly(room), broker.Exactly(broker.Control()))
	publish(t, e.b, room, "before")
	r.Want(room, "before")
	e.end()
	c := r.WantCall("interrupted")
	assert.ErrorIs(t, c.Err, e.ends)
	// Later attempts to connect give the reason as well.
	for i := range 3 {
		publish(t, e.b, room, "too early")
		var loss *broker.LossError
		if err := e.b.Flush(within(t, patience)); !errors.As(err, &loss) || loss.Messages != 1 || !errors.Is(err, e.stays) && !errors.Is(err, e.ends) {
			t.Errorf("Flush %d: %v, want a loss because of %v", i, err, e.stays)
		}
	}
	text := e.log.String()
	assert.Contains(t, strings.ToLower(text), strings.TrimPrefix(e.ends.Error(), "nats: "), "the log does not have the reason %v:\n%s", e.ends, text)
	e.heal()
	r.WantCall("resumed")
	publish(t, e.b, room, "after")
	r.Want(room, "after")
}

func TestConnectionsEndedForAReason(t *testing.T) {
	t.Parallel()
	const users = "authorization { users: [ { user: all, password: pw }, { user: node, password: %s } ] }\n"
	fine := fmt.Sprintf(users, "pw")
	for _, c := range []struct {
		name, during string
		reason       error
	}{
		{"another password", fmt.Sprintf(users, "other"), nats.ErrAuthorization},
		{"no connections", fine + "max_connections: -1", nats.ErrMaxConnectionsExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := &guarded{t, servers.StartNATS(t, &servers.NATSOptions{Config: fine})}
			log := &brokertest.Log{}
			e := ended{b: g.open("node", hurried(log)), log: log, ends: c.reason, stays: c.reason,
				end: func() { g.configure(c.during) }, heal: func() { g.configure(fine) }}
			e.test(t)
		})
	}
	for _, c := range []struct {
		name        string
		change      func(*issuer)
		ends, stays error
	}{
		{"the user expires", func(i *issuer) { i.userExpires = time.Now().Add(1500 * time.Millisecond).Unix() }, nats.ErrAuthExpired, nats.ErrAuthorization},
		{"the user is revoked", func(i *issuer) { i.revoked = true }, nats.ErrAuthRevoked, nats.ErrAuthorization},
		{"the account expires", func(i *issuer) { i.accountExpires = time.Now().Add(1500 * time.Millisecond).Unix() }, nats.ErrAccountAuthExpired, nats.ErrAuthorization},
		{"no connections for the account", func(i *issuer) { i.limits["conn"] = 0 }, nats.ErrMaxAccountConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded},
		{"too many subscriptions", func(i *issuer) { i.limits["subs"] = 1 }, nats.ErrMaxSubscriptionsExceeded, nats.ErrMaxSubscriptionsExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			if strings.Contains(c.name, "expires") { // the token has the time from the beginning
				c.change(i)
			}
			g := &guarded{t, servers.StartNATS(t, &servers.NATSOptions{Config: i.config()})}
			log := &brokertest.Log{}
			opts := hurried(log)
			opts.NATS = []nats.Option{nats.UserJWT(i.userJWT, i.sign)}
			e := ended{b: open(t, g.Addr(), opts), log: log, ends: c.ends, stays: c.stays}
			e.end = func() {
				if !strings.Contains(c.name, "expires") {
					c.change(i)
					g.configure(i.config())
				}
			}
			e.heal = func() {
				i.allow()
				g.configure(i.config())
			}
			e.test(t)
		})
	}
}

// TestPayloadLimitLowered: a message that exceeds the server's limit after a reload
// ends the connection with that reason. After that, Publish refuses such messages at once.
func TestPayloadLimitLowered(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	i := newIssuer(t)
	account := servers.StartNATS(t, &servers.NATSOptions{Config: i.config()})
	token := quick()
	token.NATS = []nats.Option{nats.UserJWT(i.userJWT, i.sign)}
	server := servers.StartNATS(t, nil)
	for _, c := range []struct {
		name  string
		srv   *servers.NATS
		b     *natsbroker.Broker
		lower func(*servers.NATSOptions)
	}{
		{"of the server", server, open(t, server.URL(), quick()), func(o *servers.NATSOptions) { o.MaxPayload = limit }},
		{"of the account", account, open(t, account.Addr(), token), func(o *servers.NATSOptions) {
			i.limits["payload"] = limit
			o.Config = i.config()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			losses := watchLosses(t, c.b)
			r := record(t)
			subscribe(t, c.b, r, broker.Exactly(room))
			large := strings.Repeat("x", 2*limit)
			publish(t, c.b, room, large)
			r.Want(room, large)
			require.NoError(t, c.srv.Reload(within(t, patience), c.lower))
			publish(t, c.b, room, "small")
			publish(t, c.b, room, large)
			var loss *broker.LossError
			err := c.b.Flush(within(t, patience))
			require.ErrorAs(t, err, &loss)
			require.ErrorIs(t, err, nats.ErrMaxPayload)
			var call brokertest.Call
			for call = r.Next(); call.What == "deliver"; call = r.Next() {
			}
			require.Equal(t, "interrupted", call.What)
			require.ErrorIs(t, call.Err, nats.ErrMaxPayload)
			r.WantCall("resumed")
			var refused *broker.PayloadError
			err = c.b.Publish(within(t, patience), room, []byte(large))
			require.ErrorAs(t, err, &refused)
			require.Less(t, refused.Max, limit, "Publish")
			whole := strings.Repeat("y", refused.Max)
			publish(t, c.b, room, whole)
			r.Want(room, whole)
			flush(t, c.b)
			s := balanced(t, c.b, losses)
			require.EqualValues(t, 1, s.Interruptions, "Stats %+v", s)
		})
	}
}

// TestTooManySubscriptions: Subscribe and Add beyond the server's maximum are refused, and
// leave earlier filters live.
func TestTooManySubscriptions(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: "max_subscriptions: 3"})
	b, from := open(t, srv.URL(), quick()), open(t, srv.URL(), quick())
	r := record(t)
	sub := subscribe(t, b, r, broker.Exactly(room))
	more := rooms(3)
	for range 20 {
		require.ErrorIs(t, sub.Add(within(t, patience), more...), nats.ErrMaxSubscriptionsExceeded, "Add of three more")
		_, err := b.Subscribe(within(t, patience), record(t), more...)
		require.ErrorIs(t, err, nats.ErrMaxSubscriptionsExceeded, "Subscribe to three more")
		require.NoError(t, sub.Add(within(t, patience), more[:2]...))
		publish(t, from, more[1].Channel(), "live")
		r.Want(more[1].Channel(), "live")
		require.NoError(t, sub.Remove(within(t, patience), more[:2]...))
	}
	s := b.Stats()
	assert.Zero(t, s.Interruptions)
	assert.Equal(t, 1, s.Subscriptions)
}

// TestLameDuck: an announced shutdown of the server is the reason of the interruption.
func TestLameDuck(t *testing.T) {
	t.Parallel()
	srv := servers.StartNATS(t, &servers.NATSOptions{Config: "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"100ms\""})
	b := open(t, srv.URL(), quick())
	r := record(t)
	subscribe(t, b, r, broker.Exactly(room))
	srv.Signal(syscall.SIGUSR2)
	c := r.WantCall("interrupted")
	assert.Contains(t, c.Err.Error(), "lame duck", "Interrupted")
	srv.Restart()
	r.WantCall("resumed")
}

// issuer makes the tokens of one account and its user.
type issuer struct {
	t                       *testing.T
	operator, account, user nkeys.KeyPair
	trusted                 string // the operator's token
	issued                  int64

	mu                          sync.Mutex
	limits                      map[string]int
	revoked                     bool
	userExpires, accountExpires int64
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t, issued: time.Now().Unix()}
	for kind, key := range map[nkeys.PrefixByte]*nkeys.KeyPair{
		nkeys.PrefixByteOperator: &i.operator, nkeys.PrefixByteAccount: &i.account, nkeys.PrefixByteUser: &i.user,
	} {
		pair, err := nkeys.CreatePair(kind)
		require.NoError(t, err)
		*key = pair
	}
	i.allow()
	i.trusted = i.token(i.operator, i.operator, 0, map[string]any{"type": "operator"})
	return i
}

// allow removes all restrictions.
func (i *issuer) allow() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.limits = map[string]int{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1}
	i.revoked, i.userExpires, i.accountExpires = false, 0, 0
}

func public(key nkeys.KeyPair) string {
	text, err := key.PublicKey()
	if err != nil {
		panic(err)
	}
	return text
}

// token is a JSON web token about subject.
func (i *issuer) token(issuer, subject nkeys.KeyPair, expires int64, claims map[string]any) string {
	claims["version"] = 2
	all := map[string]any{"jti": rand.Text(), "iat": i.issued, "iss": public(issuer), "sub": public(subject), "name": "test", "nats": claims}
	if expires > 0 {
		all["exp"] = expires
	}
	body, err := json.Marshal(all)
	require.NoError(i.t, err)
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + encode(body)
	signature, err := issuer.Sign([]byte(text))
	require.NoError(i.t, err)
	return text + "." + encode(signature)
}

// config returns the configuration of a server that trusts the operator and knows the account.
func (i *issuer) config() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	account := map[string]any{"type": "account", "limits": i.limits}
	if i.revoked {
		account["revocations"] = map[string]any{public(i.user): time.Now().Unix()}
	}
	return fmt.Sprintf("operator: %q\nresolver: MEMORY\nresolver_preload: { %s: %q }\n",
		i.trusted, public(i.account), i.token(i.operator, i.account, i.accountExpires, account))
}

func (i *issuer) userJWT() (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.token(i.account, i.user, i.userExpires, map[string]any{"type": "user", "subs": -1, "data": -1, "payload": -1}), nil
}

func (i *issuer) sign(nonce []byte) ([]byte, error) { return i.user.Sign(nonce) }

// TestReasonsForRefusedConnections: the reason for which a broker cannot reconnect is the reason of losses
// and in the log, at each attempt.
func TestReasonsForRefusedConnections(t *testing.T) {
	t.Parallel()
	plain, secured := servers.StartNATS(t, nil), servers.StartNATS(t, &servers.NATSOptions{TLS: true})
	files := secured.Dir()
	mutual := servers.StartNATS(t, &servers.NATSOptions{Config: fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }",
		filepath.Join(files, "cert.pem"), filepath.Join(files, "key.pem"), secured.CA())})
	guarded := servers.StartNATS(t, &servers.NATSOptions{User: "me", Password: "s3cret"})
	full := servers.StartNATS(t, &servers.NATSOptions{Config: "max_connections: -1"})
	for _, c := range []struct {
		name     string
		from, to *servers.NATS
		says     string
	}{
		{"untrusted certificate", plain, secured, "certificate signed by unknown authority"},
		{"no client certificate", secured, mutual, "certificate required"},
		{"no TLS", secured, plain, nats.ErrSecureConnWanted.Error()},
		{"no password", plain, guarded, "Authorization Violation"},
		{"too many connections", plain, full, nats.ErrMaxConnectionsExceeded.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxy := tcpproxy.Start(t, c.from.Addr())
			log := &brokertest.Log{}
			opts := hurried(log)
			opts.NATS = []nats.Option{nats.IgnoreDiscoveredServers()}
			scheme := "nats://"
			if c.from == secured {
				scheme = "tls://"
				opts.NATS = append(opts.NATS, nats.RootCAs(secured.CA()))
			}
			b := open(t, scheme+proxy.Addr(), opts)
			r := record(t)
			subscribe(t, b, r, broker.Exactly(room))
			proxy.Retarget(c.to.Addr())
			proxy.Disconnect()
			proxy.Heal()
			r.WantCall("interrupted")
			for i := range 4 {
				publish(t, b, room, "too early")
				err := b.Flush(within(t, patience))
				assert.ErrorContains(t, err, c.says, "Flush %d", i)
			}
			assert.Contains(t, log.String(), c.says, "the log")
			proxy.Retarget(c.from.Addr())
			r.WantCall("resumed")
		})
	}
}
