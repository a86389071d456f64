package address_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/broker/internal/address"
)

func TestParse(t *testing.T) {
	a, err := address.Parse("Redis+Cluster://u%3A:p%40@a:1,[::1]:2/p%2Fq?x=1&y=%20")
	require.NoError(t, err)
	require.Equal(t, &address.Address{
		Scheme: "redis+cluster", User: "u:", Password: "p@", Hosts: []string{"a:1", "[::1]:2"}, Path: "/p/q",
		Query: url.Values{"x": {"1"}, "y": {" "}},
	}, a)
	a, err = address.Parse("host")
	require.NoError(t, err)
	require.Equal(t, &address.Address{Hosts: []string{"host"}, Query: url.Values{}}, a)
	a, err = address.Parse("unix:///run/x.sock")
	require.NoError(t, err)
	require.Equal(t, &address.Address{Scheme: "unix", Hosts: []string{""}, Path: "/run/x.sock", Query: url.Values{}}, a)

	for _, s := range []string{
		"redis://u:p/x@h", "redis://u:p#x@h", "redis://h/p#x", "redis://%zz:p@h", "redis://u:%zz@h", "redis://u@v:p@h",
		"redis://u,v:p@h", "redis://u:p:q@h", "redis://h/%zz", "redis://h?%zz=1", "redis://h?a=1&a=2", "redis://h?a;b",
	} {
		_, err := address.Parse(s)
		require.Error(t, err, s)
	}
}

func TestHostPort(t *testing.T) {
	for host, want := range map[string]string{
		"a": "a:7", "a:1": "a:1", "a:65535": "a:65535", "[::1]": "[::1]:7", "[::1]:2": "[::1]:2", "[fe80::1%eth0]:2": "[fe80::1%eth0]:2",
		"azAZ09-._": "azAZ09-._:7", "\u0080": "\u0080:7", "m\u00fcnchen": "m\u00fcnchen:7",
	} {
		got, err := address.HostPort(host, "7")
		require.NoError(t, err, host)
		require.Equal(t, want, got)
	}
	for _, host := range []string{
		"", ":1", "a:", "a:0", "a:65536", "a:x", "a:1:2", "::1", "[::1", "::1]", "[]", "[]:1", "[a]b",
		"a`", "a{", "a@", "a/", "a ", "a\x7f", "a!", "a+",
	} {
		_, err := address.HostPort(host, "7")
		require.Error(t, err, "%q", host)
	}
}

func TestAllow(t *testing.T) {
	q := url.Values{"a": {"1"}, "b": {"2"}}
	require.NoError(t, address.Allow(q, "a", "b", "c"))
	err := address.Allow(q, "a", "c")
	require.ErrorContains(t, err, "known are a, c")
	require.NotContains(t, err.Error(), "b,", "a part of the address")
}

func TestTLS(t *testing.T) {
	c, err := address.TLS(url.Values{"other": {"1"}})
	require.NoError(t, err)
	require.Nil(t, c)
	c, err = address.TLS(url.Values{"tls_server_name": {"name"}})
	require.NoError(t, err)
	require.Equal(t, "name", c.ServerName)
	require.Nil(t, c.RootCAs, "the system's")
	require.Empty(t, c.Certificates)

	file := filepath.Join(t.TempDir(), "x.pem")
	require.NoError(t, os.WriteFile(file, []byte("no PEM"), 0o600))
	for _, q := range []url.Values{
		{"tls_ca": {file + ".missing"}}, {"tls_ca": {file}}, {"tls_cert": {file}}, {"tls_key": {file}},
		{"tls_cert": {file}, "tls_key": {file}},
	} {
		_, err := address.TLS(q)
		require.Error(t, err, fmt.Sprint(q))
		require.NotContains(t, err.Error(), file)
	}
}
