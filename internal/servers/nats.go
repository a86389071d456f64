package servers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossroom/crossroom/internal/child"
)

// NATSOptions configure a nats-server. The zero value is a plain server.
type NATSOptions struct {
	// User and Password that clients must send; empty means none.
	User, Password string
	// TLS makes the server listen with TLS only, with a certificate for 127.0.0.1 and localhost from a certificate
	// authority made for this test.
	TLS bool
	// MaxPayload in bytes; zero means the server's default, 1 MiB.
	MaxPayload int
	// Config is additional text of the configuration file, such as permissions.
	Config string
}

// NATS is a running nats-server.
type NATS struct {
	*Server
	opts    NATSOptions
	cluster string // additional text of the configuration file
	file    string // the configuration file
	user    *url.Userinfo
	certs   certificates
	monitor int // port
}

// StartNATS starts a nats-server on a free port and waits until it responds. nil options mean the zero NATSOptions.
func StartNATS(tb testing.TB, opts *NATSOptions) *NATS {
	tb.Helper()
	n := newNATS(tb, opts, "")
	n.start()
	return n
}

// newNATS prepares a nats-server without starting it. cluster is additional configuration.
func newNATS(tb testing.TB, opts *NATSOptions, cluster string) *NATS {
	tb.Helper()
	if opts == nil {
		opts = &NATSOptions{}
	}
	n := &NATS{
		Server: newServer(tb, "nats-server", Binary(tb, "nats-server"), FreePort(tb)),
		opts:   *opts, cluster: cluster, monitor: FreePort(tb),
	}
	for n.monitor == n.port { // both were free, so they may be equal
		n.monitor = FreePort(tb)
	}
	if opts.User != "" {
		n.user = url.UserPassword(opts.User, opts.Password)
	}
	if opts.TLS {
		n.certs = makeCertificates(tb, n.dir)
	}
	n.file = filepath.Join(n.dir, "nats.conf")
	if err := n.configure(); err != nil {
		tb.Fatal(err)
	}
	n.args = []string{"-c", n.file}
	n.ready = child.Answers(n.Addr(), "", "INFO ")
	return n
}

// configure writes the configuration file.
func (n *NATS) configure() error {
	var conf strings.Builder
	set := func(format string, args ...any) { fmt.Fprintf(&conf, format+"\n", args...) }
	set("listen: %q", n.Addr())
	set("http: %q", net.JoinHostPort("127.0.0.1", strconv.Itoa(n.monitor)))
	if n.opts.User != "" {
		set("authorization { user: %q, password: %q, timeout: 5 }", n.opts.User, n.opts.Password)
	}
	if n.opts.TLS {
		set("tls { cert_file: %q, key_file: %q, timeout: 5 }", n.certs.cert, n.certs.key)
	}
	if n.opts.MaxPayload > 0 {
		set("max_payload: %d", n.opts.MaxPayload)
	}
	set("%s", n.opts.Config)
	set("%s", n.cluster)
	return os.WriteFile(n.file, []byte(conf.String()), 0o600)
}

// Reload changes the options of a running server, which keeps its connections, and waits until the server has applied
// them. It cannot change TLS. It may be called from any goroutine, unlike the other methods.
func (n *NATS) Reload(ctx context.Context, change func(*NATSOptions)) error {
	loaded := func() (at string, err error) {
		var about struct {
			At string `json:"config_load_time"`
		}
		err = n.Monitor(ctx, "/varz", &about)
		return about.At, err
	}
	before, err := loaded()
	if err != nil {
		return err
	}
	change(&n.opts)
	if err := n.configure(); err != nil {
		return err
	}
	n.mu.Lock()
	if n.child != nil {
		n.child.Signal(syscall.SIGHUP)
	}
	n.mu.Unlock()
	for {
		if at, err := loaded(); err == nil && at != before {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server did not apply its new configuration: %w\n%s", ctx.Err(), n.Log())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// URL returns the server's address, with user and password: nats:// or tls://.
func (n *NATS) URL() string {
	u := url.URL{Scheme: "nats", Host: n.Addr(), User: n.user}
	if n.opts.TLS {
		u.Scheme = "tls"
	}
	return u.String()
}

// CA returns the file with the certificate authority's certificate, empty without TLS.
func (n *NATS) CA() string { return n.certs.ca }

// TLS returns a client configuration that trusts the server, nil without TLS.
func (n *NATS) TLS() *tls.Config {
	if !n.opts.TLS {
		return nil
	}
	return n.certs.client.Clone()
}

// Monitor queries the server's monitoring endpoint at a path such as "/connz".
func (n *NATS) Monitor(ctx context.Context, path string, into any) error {
	text, err := child.Get(ctx, "http://127.0.0.1:"+strconv.Itoa(n.monitor)+path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
