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
	"testing"

	"github.com/crossroom/crossroom/internal/child"
)

// NATSOptions say how a nats-server is started. The zero value is a plain server.
type NATSOptions struct {
	// User and Password that clients have to give; empty means none are asked for.
	User, Password string
	// TLS makes it listen with TLS only, with a certificate for 127.0.0.1 and
	// localhost from a certificate authority made for this test.
	TLS bool
	// MaxPayload in bytes; zero means the server's default, 1 MiB.
	MaxPayload int
	// Config is further text of the configuration file, such as permissions.
	Config string
}

// NATS is a running nats-server.
type NATS struct {
	*Server
	user    *url.Userinfo
	tls     *tls.Config
	ca      string
	monitor int // port
}

// StartNATS starts a nats-server on a free port and waits until it answers. nil
// options mean the zero NATSOptions.
func StartNATS(tb testing.TB, opts *NATSOptions) *NATS {
	tb.Helper()
	n := newNATS(tb, opts, "")
	n.start()
	return n
}

// newNATS prepares a nats-server without starting it. cluster is further
// configuration.
func newNATS(tb testing.TB, opts *NATSOptions, cluster string) *NATS {
	tb.Helper()
	if opts == nil {
		opts = &NATSOptions{}
	}
	n := &NATS{Server: newServer(tb, "nats-server", Binary(tb, "nats-server"), FreePort(tb)), monitor: FreePort(tb)}
	for n.monitor == n.port { // both were free, after all
		n.monitor = FreePort(tb)
	}
	var conf strings.Builder
	set := func(format string, args ...any) { fmt.Fprintf(&conf, format+"\n", args...) }
	set("listen: %q", n.Addr())
	set("http: %q", net.JoinHostPort("127.0.0.1", strconv.Itoa(n.monitor)))
	if opts.User != "" {
		n.user = url.UserPassword(opts.User, opts.Password)
		set("authorization { user: %q, password: %q, timeout: 5 }", opts.User, opts.Password)
	}
	if opts.TLS {
		files := makeCertificates(tb, n.dir)
		n.tls, n.ca = files.client, files.ca
		set("tls { cert_file: %q, key_file: %q, timeout: 5 }", files.cert, files.key)
	}
	if opts.MaxPayload > 0 {
		set("max_payload: %d", opts.MaxPayload)
	}
	set("%s", opts.Config)
	set("%s", cluster)
	file := filepath.Join(n.dir, "nats.conf")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		tb.Fatal(err)
	}
	n.args = []string{"-c", file}
	n.ready = child.Answers(n.Addr(), "", "INFO ")
	return n
}

// URL returns the server's address, with user and password: nats:// or tls://.
func (n *NATS) URL() string {
	u := url.URL{Scheme: "nats", Host: n.Addr(), User: n.user}
	if n.tls != nil {
		u.Scheme = "tls"
	}
	return u.String()
}

// CA returns the file with the certificate authority's certificate, empty without TLS.
func (n *NATS) CA() string { return n.ca }

// TLS returns a client configuration that trusts the server, nil without TLS.
func (n *NATS) TLS() *tls.Config {
	if n.tls == nil {
		return nil
	}
	return n.tls.Clone()
}

// Monitor returns what the server says about itself at a path such as "/connz".
func (n *NATS) Monitor(ctx context.Context, path string, into any) error {
	text, err := child.Get(ctx, "http://127.0.0.1:"+strconv.Itoa(n.monitor)+path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
