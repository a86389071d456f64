package browsertest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/examples/chat/browsertest"
)

// The page's bundled client is the stock one, of the version that the other tests use.
func TestBundle(t *testing.T) {
	packages := filepath.Join(filepath.Dir(browsertest.Script(t, "server.js")), "node_modules")
	want, err := os.ReadFile(filepath.Join(packages, "socket.io-client", "dist", "socket.io.min.js"))
	require.NoError(t, err)
	got, err := os.ReadFile("../page/vendor/socket.io.min.js")
	require.NoError(t, err)
	assert.Equal(t, want, got, "page/vendor/socket.io.min.js is not that of the npm package")
}
