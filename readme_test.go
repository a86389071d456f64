package crossroom_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/crossroom/crossroom/internal/servers"
)

// readme is README.md, and the blocks of code in it.
type readme struct {
	text             string
	program, onRedis string // the program, and the line that replaces one of it
	prints, demo     string
}

func readReadme(t *testing.T) readme {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```(?:go|text)\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 4, "README.md: want the program, its output, the line for Redis and the demo's end")
	return readme{string(text), blocks[0][1], blocks[2][1], blocks[1][1], blocks[3][1]}
}

func TestReadmeIsShort(t *testing.T) {
	r := readReadme(t)
	before, _, found := strings.Cut(r.text, "## License")
	require.True(t, found, "README.md has no licence")
	assert.LessOrEqual(t, strings.Count(before, "\n"), 110, "lines of README.md")
	lines := strings.Count(r.program, "\n")
	assert.True(t, lines >= 30 && lines <= 45, "the program has %d lines", lines)
	assert.NotRegexp(t, `(?m)^var|, _ :?=`, r.program, "package-level variables, ignored errors")
}

func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	out, err := run(t, r.program)
	require.NoError(t, err, out)
	assert.Equal(t, r.prints, out)
}

func TestReadmeProgramOnRedis(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	redis := servers.StartRedis(t, nil)
	out, err := run(t, r.forRedis(t, redis.Addr()))
	require.NoError(t, err, out)
	assert.Equal(t, r.prints, out)
}

func TestReadmeProgramWithoutRedis(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	nothing := fmt.Sprintf("127.0.0.1:%d", servers.FreePort(t))
	out, err := run(t, r.forRedis(t, nothing))
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	assert.Equal(t, 1, exit.ExitCode())
	assert.Equal(t, 1, strings.Count(out, "\n"), "one line, and no stack: %s", out)

	said := regexp.MustCompile("`(connect to redis .*?)`").FindStringSubmatch(r.text)
	require.NotNil(t, said, "README.md does not say what is printed without a Redis")
	for _, part := range strings.Split(strings.ReplaceAll(said[1], "localhost:6379", nothing), " … ") {
		if runtime.GOOS != "windows" || !strings.Contains(part, "refused") { // Windows has words of its own
			assert.Contains(t, out, part)
		}
	}
}

// TestReadmeOfDemo compares what the README shows of the demo with what that prints.
func TestReadmeOfDemo(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	out, err := goRun(t, "./demo")
	require.NoError(t, err, out)
	assert.True(t, strings.HasSuffix(out, r.demo), "the demo ends with\n%s", out)
}

// forRedis is the program after the change that the README describes.
func (r readme) forRedis(t *testing.T, address string) string {
	imports := regexp.MustCompile("import by `(.*?)`").FindStringSubmatch(r.text)
	require.NotNil(t, imports, "README.md does not say which import is replaced")
	program := regexp.MustCompile(`(?m)^\tnewBroker := .*\n`).ReplaceAllLiteralString(r.program, r.onRedis)
	program = regexp.MustCompile(`(?m)^\tmemorybroker ".*`).ReplaceAllLiteralString(program, "\t"+imports[1])
	require.NotContains(t, program, "memorybroker")
	require.Equal(t, 1, strings.Count(program, "localhost:6379"))
	return strings.ReplaceAll(program, "localhost:6379", address)
}

// run runs a program against this tree.
func run(t *testing.T, program string) (string, error) {
	dir, err := os.MkdirTemp(".", "readme-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644))
	return goRun(t, "./"+dir)
}

// goRun builds a program and runs it, with the exit status of the program itself.
func goRun(t *testing.T, dir string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "program.exe")
	built, err := exec.CommandContext(ctx, "go", "build", "-o", program, dir).CombinedOutput()
	require.NoError(t, err, string(built))
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	require.NotErrorIs(t, errors.Join(err, ctx.Err()), context.DeadlineExceeded, "%s", &out)
	return out.String(), err
}
