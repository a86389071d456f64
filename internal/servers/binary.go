package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Environment variables that this package reads.
const (
	// EnvRedisServer names the redis-server binary.
	EnvRedisServer = "CROSSROOM_REDIS_SERVER"
	// EnvRequire makes a missing binary a failure, as CI does.
	EnvRequire = "CROSSROOM_REQUIRE_SERVERS"
)

// RedisBinary returns the path of redis-server, and skips or fails the test if
// there is none.
func RedisBinary(tb testing.TB) string {
	tb.Helper()
	return Binary(tb, "redis-server", EnvRedisServer)
}

// Binary returns the path of a program that tests need: the file that the
// environment variable env names, else .tools/name at the module's root, else name in
// PATH. Without one it skips or fails the test.
func Binary(tb testing.TB, name, env string) string {
	tb.Helper()
	path, err := findBinary(name, env)
	if err == nil {
		return path
	}
	Missing(tb, name, err)
	return ""
}

// Missing ends a test that cannot run because something is not on this machine: it is
// skipped with a line that begins with "SKIPPED-SERVER:" or, where everything must be
// run, failed.
func Missing(tb testing.TB, what string, err error) {
	tb.Helper()
	if os.Getenv("CI") != "" || os.Getenv(EnvRequire) != "" {
		tb.Fatalf("no %s: %v", what, err)
	}
	// A line of its own, which no file name precedes, for whoever sums up a run.
	fmt.Printf("SKIPPED-SERVER: %s: %s: %v\n", tb.Name(), what, err)
	tb.Skipf("SKIPPED-SERVER: %s: %v", what, err)
}

func findBinary(name, env string) (string, error) {
	if path := os.Getenv(env); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", env, err)
		}
		return found, nil
	}
	if root, err := moduleRoot(); err == nil {
		if path, err := exec.LookPath(filepath.Join(root, ".tools", name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("not named by %s, not in .tools and not in PATH", env)
	}
	return path, nil
}

// moduleRoot is the directory of this module's go.mod, found upwards from the
// working directory. Nested modules have a go.mod of their own and are passed by.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil {
			first, _, _ := strings.Cut(string(text), "\n")
			if strings.TrimSpace(first) == "module github.com/crossroom/crossroom" {
				return dir, nil
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod of this module above the working directory")
		}
		dir = parent
	}
}
