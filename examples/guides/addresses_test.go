package guides_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/adapter"
	"github.com/crossroom/crossroom/broker/dial"
	"github.com/crossroom/crossroom/internal/servers"
)

// hello opens a broker by its address, and a server on it.
func hello(ctx context.Context, address string) error {
	b, err := dial.Open(address, &dial.Options{Prefix: "shop"})
	if err != nil {
		return err // a *dial.AddressError
	}
	server, err := adapter.New(b, nil)
	if err != nil {
		return errors.Join(err, b.Close(ctx))
	}
	chat, err := server.Of(ctx, "/chat") // connects, and returns the failure
	if err == nil {
		err = chat.Emit(ctx, "hello", "world")
	}
	return errors.Join(err, server.Close(ctx), b.Close(ctx)) // the broker last: it sends what is queued
}

func Example_addresses() {
	if err := hello(context.Background(), "memory"); err != nil {
		log.Fatal(err)
	}
	var bad *dial.AddressError
	fmt.Println(errors.As(hello(context.Background(), ""), &bad))
	// Output: true
}

// TestHelloOnEachBroker: the guide's program runs on each system, and returns that a server does not run.
func TestHelloOnEachBroker(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, address := range []string{"memory", servers.StartRedis(t, nil).URL(), servers.StartNATS(t, nil).URL()} {
		assert.NoError(t, hello(ctx, address), address)
	}
	for _, address := range []string{"redis://127.0.0.1:1", "nats://127.0.0.1:1"} {
		err := hello(ctx, address)
		var bad *dial.AddressError
		assert.Error(t, err, address)
		assert.False(t, errors.As(err, &bad), address)
	}
}

// TestAddressesOfTheGuide: each address of the guide opens the system that it names, or is the error that it names.
func TestAddressesOfTheGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/guides/addresses.md")
	require.NoError(t, err)
	t.Chdir(t.TempDir()) // with the files that parameters name
	srv := httptest.NewTLSServer(nil)
	srv.Close()
	pair := srv.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	for name, data := range map[string][]byte{
		"ca.pem": cert, "cert.pem": cert, "user.creds": nil,
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		require.NoError(t, os.WriteFile(name, data, 0o600))
	}

	seen := map[string]int{}
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, _, _ := strings.Cut(section, "\n")
		for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(section, -1) {
			address, what := row[1], row[2]
			seen[title]++
			system, err := dial.New(address, nil)
			switch title {
			case "Addresses", "Parameters":
				if assert.NoError(t, err, address) {
					assert.Equal(t, systemOf(address), system.System(), address)
				}
			case "Errors":
				var bad *dial.AddressError
				if assert.ErrorAs(t, err, &bad, address) {
					assert.Contains(t, bad.Reason, what, address)
				}
			}
		}
	}
	for address, prefix := range map[string]string{"redis://localhost": "socket.io", "nats://localhost": "crossroom"} {
		b, err := dial.Open(address, nil)
		require.NoError(t, err)
		assert.Equal(t, prefix, b.Capabilities().Prefix, address)
		assert.Contains(t, string(text), "`"+prefix+"` on")
		require.NoError(t, b.Close(t.Context()))
	}
	assert.Equal(t, map[string]int{"Addresses": 10, "Parameters": 8, "Options of all brokers": 2, "Errors": 8}, seen)
}

func systemOf(address string) string {
	switch scheme, _, _ := strings.Cut(address, ":"); {
	case scheme == "memory":
		return "memory"
	case scheme == "nats" || scheme == "tls":
		return "nats"
	}
	return "redis"
}
