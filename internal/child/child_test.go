package child_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/child"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/servers"
)

// The children are this test binary itself, which always exists.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "echo":
		var word string
		fmt.Scan(&word)
		fmt.Println("heard", word)
		os.Exit(3)
	case "fail":
		os.Exit(1)
	case "stay":
		time.Sleep(time.Minute) // until it is killed
	}
	leakcheck.Main(m)
}

const role = "CROSSROOM_TEST_CHILD"

func command(t *testing.T, as string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd
}

// The parent reads the output of a child to its end, also after the child has terminated.
func TestListen(t *testing.T) {
	var said []byte
	p, err := child.Start(command(t, "echo"), func(output io.Reader) { said, _ = io.ReadAll(output) })
	require.NoError(t, err)
	_, err = io.WriteString(p.Input, "hello\n")
	require.NoError(t, err)
	exit, ok := errors.AsType[*exec.ExitError](p.Finish())
	require.True(t, ok, "said %q, ended with %v", said, exit)
	assert.Equal(t, 3, exit.ExitCode(), "said %q, ended with %v", said, exit)
	assert.Equal(t, "heard hello\n", string(said), "said %q, ended with %v", said, exit)
	p.Signal(syscall.SIGKILL) // no effect on a terminated process
}

func TestStartFails(t *testing.T) {
	_, err := child.Start(exec.Command(filepath.Join(t.TempDir(), "nothing")), nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestAwait(t *testing.T) {
	never := func(context.Context) error { return errors.New("never") }
	p, err := child.Start(command(t, "fail"), nil)
	require.NoError(t, err)
	assert.ErrorContains(t, p.Await(t.Context(), never), "exit status 1", "a child that terminates at once")
	p, err = child.Start(command(t, "stay"), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = p.Await(ctx, never)
	assert.ErrorIs(t, err, context.DeadlineExceeded, "a child that is never ready")
	assert.ErrorContains(t, err, "never", "a child that is never ready")
	<-p.Exited() // killed
}

func TestServers(t *testing.T) {
	for program, start := range map[string]func(context.Context) (*child.Server, error){
		"redis-server": child.StartRedis, "nats-server": child.StartNATS,
	} {
		t.Run(program, func(t *testing.T) {
			servers.Binary(t, program)
			s, err := start(t.Context())
			require.NoError(t, err)
			nc, err := net.Dial("tcp", s.Addr)
			require.NoError(t, err)
			nc.Close()
			require.NoError(t, s.Stop())
			_, err = net.Dial("tcp", s.Addr)
			assert.Error(t, err, "the server listens after Stop")

			t.Setenv("CROSSROOM_"+strings.ToUpper(strings.ReplaceAll(program, "-", "_")), "/bin/false")
			_, err = start(t.Context())
			assert.ErrorContains(t, err, program+": terminated at once", "a program that ends at once")
		})
	}
}

func TestServes(t *testing.T) {
	file := httptest.NewServer(http.FileServerFS(fstest.MapFS{"a": {Data: []byte("text")}}))
	defer file.Close()
	assert.NoError(t, child.Serves(file.URL+"/a")(t.Context()))
	err := child.Serves(file.URL + "/b")(t.Context())
	assert.EqualError(t, err, "404 Not Found")
	text, err := child.Get(t.Context(), file.URL+"/a")
	require.NoError(t, err)
	assert.Equal(t, "text", string(text))
}

func TestProgram(t *testing.T) {
	t.Setenv("CROSSROOM_NO_SUCH_PROGRAM", "/no/such/file")
	if _, err := child.Program("no-such-program"); err == nil || !strings.Contains(err.Error(), "CROSSROOM_NO_SUCH_PROGRAM") {
		t.Errorf("a missing file: %v", err)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	t.Setenv("CROSSROOM_NO_SUCH_PROGRAM", self)
	path, err := child.Program("no-such-program")
	require.NoError(t, err)
	assert.Equal(t, self, path)
	t.Setenv("PATH", filepath.Dir(self))
	path, err = child.Program(filepath.Base(self))
	require.NoError(t, err)
	assert.Equal(t, self, path, "from PATH")
}
