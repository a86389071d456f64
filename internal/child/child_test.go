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

	"github.com/crossroom/crossroom/internal/child"
	"github.com/crossroom/crossroom/internal/leakcheck"
	"github.com/crossroom/crossroom/internal/servers"
)

// The children are this program itself, which is there where nothing else is.
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
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd
}

// What a child says is heard to its end, also when it has ended.
func TestListen(t *testing.T) {
	var said []byte
	p, err := child.Start(command(t, "echo"), func(output io.Reader) { said, _ = io.ReadAll(output) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.Input, "hello\n"); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*exec.ExitError](p.Finish())
	if !ok || exit.ExitCode() != 3 || string(said) != "heard hello\n" {
		t.Errorf("said %q, ended with %v", said, exit)
	}
	p.Signal(syscall.SIGKILL) // does not mind
}

func TestStartFails(t *testing.T) {
	if _, err := child.Start(exec.Command(filepath.Join(t.TempDir(), "nothing")), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
}

func TestAwait(t *testing.T) {
	never := func(context.Context) error { return errors.New("never") }
	p, err := child.Start(command(t, "fail"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Await(t.Context(), never); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("a child that ends at once: %v", err)
	}
	if p, err = child.Start(command(t, "stay"), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Await(ctx, never); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "never") {
		t.Errorf("a child that is never ready: %v", err)
	}
	<-p.Exited() // killed
}

func TestServers(t *testing.T) {
	for program, start := range map[string]func(context.Context) (*child.Server, error){
		"redis-server": child.StartRedis, "nats-server": child.StartNATS,
	} {
		t.Run(program, func(t *testing.T) {
			servers.Binary(t, program)
			s, err := start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			nc, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := net.Dial("tcp", s.Addr); err == nil {
				t.Error("there is a server after Stop")
			}

			t.Setenv("CROSSROOM_"+strings.ToUpper(strings.ReplaceAll(program, "-", "_")), "/bin/false")
			if _, err := start(t.Context()); err == nil || !strings.Contains(err.Error(), program+": ended at once") {
				t.Errorf("a program that ends at once: %v", err)
			}
		})
	}
}

func TestServes(t *testing.T) {
	file := httptest.NewServer(http.FileServerFS(fstest.MapFS{"a": {Data: []byte("text")}}))
	defer file.Close()
	if err := child.Serves(file.URL + "/a")(t.Context()); err != nil {
		t.Error(err)
	}
	if err := child.Serves(file.URL + "/b")(t.Context()); err == nil || err.Error() != "404 Not Found" {
		t.Errorf("%v, want that there is nothing", err)
	}
	if text, err := child.Get(t.Context(), file.URL+"/a"); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestProgram(t *testing.T) {
	t.Setenv("CROSSROOM_NO_SUCH_PROGRAM", "/no/such/file")
	if _, err := child.Program("no-such-program"); err == nil || !strings.Contains(err.Error(), "CROSSROOM_NO_SUCH_PROGRAM") {
		t.Errorf("a file that is not there: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CROSSROOM_NO_SUCH_PROGRAM", self)
	if path, err := child.Program("no-such-program"); err != nil || path != self {
		t.Errorf("%q, %v", path, err)
	}
	t.Setenv("PATH", filepath.Dir(self))
	if path, err := child.Program(filepath.Base(self)); err != nil || path != self {
		t.Errorf("from PATH: %q, %v", path, err)
	}
}
