package crossroom_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	lines := len(regexp.MustCompile(`(?m)^.*\S`).FindAllString(r.program, -1)) // without blank ones
	assert.True(t, lines >= 30 && lines <= 45, "the program has %d lines", lines)
	assert.NotRegexp(t, `(?m)^var|, _ :?=`, r.program, "package-level variables, ignored errors")
}

func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	out, err := run(t, build(t, r.program))
	require.NoError(t, err, out)
	assert.Equal(t, r.prints, out)
}

// TestReadmeProgramOnRedis runs the program with the README's change: on a Redis, and then
// without one.
func TestReadmeProgramOnRedis(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	redis := servers.StartRedis(t, nil)
	program := build(t, r.forRedis(t, redis.Addr()))
	out, err := run(t, program)
	require.NoError(t, err, out)
	assert.Equal(t, r.prints, out)

	redis.Stop()
	out, err = run(t, program)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, out)
	assert.Equal(t, 1, exit.ExitCode())
	assert.NotContains(t, out, "goroutine", "the program prints a stack")
	said := regexp.MustCompile("`(connect to redis .*?)`").FindStringSubmatch(r.text)
	require.NotNil(t, said, "README.md does not say what is printed without a Redis")
	for _, part := range strings.Split(strings.ReplaceAll(said[1], "localhost:6379", redis.Addr()), " … ") {
		assert.Contains(t, out, part)
	}
}

// TestReadmeOfDemo compares what the README shows of the demo with what that prints.
func TestReadmeOfDemo(t *testing.T) {
	t.Parallel()
	r := readReadme(t)
	out, err := run(t, goBuild(t, "./demo"))
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

// build builds a program against this tree.
func build(t *testing.T, program string) string {
	dir, err := os.MkdirTemp(".", "readme-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644))
	return goBuild(t, "./"+dir)
}

func goBuild(t *testing.T, dir string) string {
	binary := filepath.Join(t.TempDir(), "program.exe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, dir).CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// run returns what a program prints: its standard output, or its log as well if it fails. err is
// the exit status of the program.
func run(t *testing.T, binary string) (out string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, log strings.Builder
	cmd := exec.CommandContext(ctx, binary)
	cmd.Stdout, cmd.Stderr = &stdout, &log
	err = cmd.Run()
	require.NoError(t, ctx.Err(), "%s%s", &stdout, &log)
	if err != nil {
		return stdout.String() + log.String(), err
	}
	return stdout.String(), nil
}
