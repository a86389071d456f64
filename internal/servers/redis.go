package servers

import (
	"context"
	"crypto/tls"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// RedisOptions configure a redis-server. The zero value is a plain server without persistence.
type RedisOptions struct {
	// Password of the default user; empty means none.
	Password string
	// Users are additional users, each in the words of the ACL file after "user", such as "reader on >secret
	// resetchannels &news +subscribe".
	Users []string
	// TLS makes the server listen with TLS only, with a certificate for 127.0.0.1 and localhost from a certificate
	// authority made for this test.
	TLS bool
	// Args are appended to the command line, such as "--maxmemory", "10mb".
	Args []string
}

// Redis is a running redis-server.
type Redis struct {
	*Server
	password string
	tls      *tls.Config
	ca       string
}

// StartRedis starts a redis-server on a free port and waits until it responds. nil options mean the zero RedisOptions.
func StartRedis(tb testing.TB, opts *RedisOptions) *Redis {
	tb.Helper()
	r := newRedis(tb, opts)
	r.start()
	return r
}

// newRedis prepares a redis-server without starting it.
func newRedis(tb testing.TB, opts *RedisOptions) *Redis {
	tb.Helper()
	if opts == nil {
		opts = &RedisOptions{}
	}
	r := &Redis{
		Server:   newServer(tb, "redis-server", Binary(tb, "redis-server"), FreePort(tb)),
		password: opts.Password,
	}
	args := []string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", r.dir, "--daemonize", "no", "--loglevel", "warning"}
	if opts.TLS {
		files := makeCertificates(tb, r.dir)
		r.tls, r.ca = files.client, files.ca
		args = append(args, "--port", "0", "--tls-port", strconv.Itoa(r.port), "--tls-cert-file", files.cert,
			"--tls-key-file", files.key, "--tls-ca-cert-file", files.ca, "--tls-auth-clients", "no")
	} else {
		args = append(args, "--port", strconv.Itoa(r.port))
	}
	switch {
	case len(opts.Users) > 0:
		// requirepass and an ACL file exclude each other, so the default user's password goes into the file.
		text := "user default on nopass ~* &* +@all\n"
		if opts.Password != "" {
			text = "user default on >" + opts.Password + " ~* &* +@all\n"
		}
		for _, user := range opts.Users {
			text += "user " + user + "\n"
		}
		file := filepath.Join(r.dir, "users.acl")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		args = append(args, "--aclfile", file)
	case opts.Password != "":
		args = append(args, "--requirepass", opts.Password)
	}
	r.args = append(args, opts.Args...)
	r.ready = func(ctx context.Context) error {
		_, err := r.do(ctx, "PING")
		return err
	}
	return r
}

// URL returns the server's address as a URL for go-redis, with the default user's password.
func (r *Redis) URL() string {
	u := url.URL{Scheme: "redis", Host: r.Addr()}
	if r.tls != nil {
		u.Scheme = "rediss"
	}
	if r.password != "" {
		u.User = url.UserPassword("default", r.password)
	}
	return u.String()
}

// CA returns the file with the certificate authority's certificate, empty without TLS.
func (r *Redis) CA() string { return r.ca }

// TLS returns a client configuration that trusts the server, nil without TLS.
func (r *Redis) TLS() *tls.Config {
	if r.tls == nil {
		return nil
	}
	return r.tls.Clone()
}

// Do runs one command as the default user on a connection of its own and returns the reply: a string, an int64, nil or
// a []any of these.
func (r *Redis) Do(args ...string) any {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := r.do(ctx, args...)
	if err != nil {
		r.tb.Fatalf("redis %s: %q: %v", r.Addr(), args, err)
	}
	return answer
}

func (r *Redis) do(ctx context.Context, args ...string) (any, error) {
	var commands [][]string
	if r.password != "" {
		commands = append(commands, []string{"AUTH", r.password})
	}
	return exchange(ctx, r.Addr(), r.tls, append(commands, args)...)
}
