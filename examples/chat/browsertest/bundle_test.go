package browsertest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

// The client that the page brings is the stock one, of the version that the other
// tests use.
func TestBundle(t *testing.T) {
	packages := filepath.Join(filepath.Dir(browsertest.Script(t, "server.js")), "node_modules")
	want, err := os.ReadFile(filepath.Join(packages, "socket.io-client", "dist", "socket.io.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../page/vendor/socket.io.min.js")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("page/vendor/socket.io.min.js is not that of the npm package")
	}
}
