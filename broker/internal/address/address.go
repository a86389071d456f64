// Package address reads the addresses of brokers. Its errors have no part of an address: a character that is not escaped
// moves the rest of a password into the path, the query or the port, and what stands before it into the host.
package address

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Address is an address in its parts, without escapes: scheme://user:password@host:port,host:port/path?name=value.
type Address struct {
	Scheme         string // in lower case; empty if there is none
	User, Password string
	Hosts          []string // as they stand in the address
	Path           string   // with its first slash
	Query          url.Values
}

var (
	errEscape    = errors.New("characters of user and password such as / ? # @ : % must be percent-encoded")
	errBehind    = reason("'@' or '#' after the host", errEscape)
	errHost      = reason("the host has a character that no host name contains", errEscape)
	errEscapes   = reason("a percent sign without two hexadecimal digits", errEscape)
	errParameter = errors.New("the parameters behind '?' are not of the form name=value&name=value")
	errTwice     = errors.New("a parameter is set twice")
)

// reason joins a reason and its remedy.
func reason(text string, remedy error) error { return errors.New(text + ": " + remedy.Error()) }

// Parse takes an address apart. Hosts are checked by HostPort.
func Parse(s string) (*Address, error) {
	var a Address
	scheme, rest, ok := strings.Cut(s, "://")
	if ok {
		a.Scheme = strings.ToLower(scheme)
	} else {
		rest = s
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if strings.ContainsAny(tail, "@#") {
		return nil, errBehind
	}
	at := strings.LastIndexByte(authority, '@')
	if at >= 0 {
		user, password, _ := strings.Cut(authority[:at], ":")
		var errUser, errPassword error
		a.User, errUser = url.PathUnescape(user)
		a.Password, errPassword = url.PathUnescape(password)
		if errUser != nil || errPassword != nil {
			return nil, errEscapes
		}
		if strings.ContainsAny(authority[:at], "@,") || strings.Contains(password, ":") {
			return nil, errEscape
		}
	}
	a.Hosts = strings.Split(authority[at+1:], ",")
	path, query, _ := strings.Cut(tail, "?")
	var err error
	if a.Path, err = url.PathUnescape(path); err != nil {
		return nil, errEscapes
	}
	a.Query, err = ParseQuery(query)
	return &a, err
}

// ParseQuery reads parameters, each at most once.
func ParseQuery(query string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errParameter
	}
	for _, v := range values {
		if len(v) > 1 {
			return nil, errTwice
		}
	}
	return values, nil
}

// Allow returns an error if there is a parameter with another name than these. It has no name of the address, which may
// be a part of a password.
func Allow(q url.Values, names ...string) error {
	for name := range q {
		if name == "skip_verify" { // of go-redis
			return errors.New("skip_verify: certificates are always verified; tls_ca names a file with an authority of your own")
		}
		if !slices.Contains(names, name) {
			return errors.New("an unknown parameter; known are " + strings.Join(names, ", "))
		}
	}
	return nil
}

// HostPort returns a host with a port, and with the default one if it has none.
func HostPort(host, port string) (string, error) {
	if strings.IndexFunc(host, func(r rune) bool { return !inHost(r) }) >= 0 {
		return "", errHost
	}
	name, given := host, port
	if strings.Contains(host[strings.LastIndexByte(host, ']')+1:], ":") {
		var err error
		if name, given, err = net.SplitHostPort(host); err != nil {
			return "", errors.New("not of the form host:port")
		}
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		name = host[1 : len(host)-1]
	}
	if name == "" || strings.ContainsAny(name, "[]") {
		return "", errors.New("no host name or IP address")
	}
	if n, err := strconv.ParseUint(given, 10, 16); err != nil || n == 0 {
		return "", errors.New("no port from 1 to 65535")
	}
	return net.JoinHostPort(name, given), nil
}

// inHost reports whether a host, with a port, may contain r.
func inHost(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r >= 0x80:
		return true
	}
	return strings.ContainsRune("-._:[]%", r) // % for the zone of an IPv6 address
}

// TLSNames are the parameters that TLS reads.
var TLSNames = []string{"tls_ca", "tls_cert", "tls_key", "tls_server_name"}

// TLS makes a configuration from parameters that name files in PEM: tls_ca, the authorities to trust in place of the
// system's; tls_cert and tls_key, the client's certificate; and from tls_server_name, the name to verify in place of the
// host. It returns nil if none is set.
func TLS(q url.Values) (*tls.Config, error) {
	if !slices.ContainsFunc(TLSNames, q.Has) {
		return nil, nil
	}
	c := &tls.Config{ServerName: q.Get("tls_server_name"), MinVersion: tls.VersionTLS12}
	if q.Has("tls_ca") {
		pem, err := os.ReadFile(q.Get("tls_ca"))
		if err != nil {
			return nil, errors.New("tls_ca: the file cannot be read")
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls_ca: the file has no certificate in PEM")
		}
	}
	if q.Has("tls_cert") != q.Has("tls_key") {
		return nil, errors.New("tls_cert and tls_key belong together")
	}
	if q.Has("tls_cert") {
		pair, err := tls.LoadX509KeyPair(q.Get("tls_cert"), q.Get("tls_key"))
		if err != nil {
			return nil, errors.New("tls_cert and tls_key: the files are not a certificate and its key in PEM")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
