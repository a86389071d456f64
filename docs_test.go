package crossroom_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sources calls see with each of the project's own files of that kind.
func sources(t *testing.T, ext string, see func(name, text string)) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && name != "." && name != ".github"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ext:
			return nil
		}
		text, err := os.ReadFile(name)
		see(name, string(text))
		return err
	})
	require.NoError(t, err)
}

// TestLinks: each relative link of a document leads to a file.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"`)
	documents := 0
	sources(t, ".md", func(name, text string) {
		documents++
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			to, _, _ := strings.Cut(found[1]+found[2], "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(name), to))
			assert.NoError(t, err, "%s", name)
		}
	})
	assert.Greater(t, documents, 20, "documents")
}

// TestPromisesAreKept: the clauses and tests that docs/PROMISES.md names exist.
func TestPromisesAreKept(t *testing.T) {
	promises, err := os.ReadFile("docs/PROMISES.md")
	require.NoError(t, err)
	var code strings.Builder
	sources(t, ".go", func(_, text string) { code.WriteString(text) })
	rows := 0
	for line := range strings.Lines(string(promises)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[3]) == "kept by" {
			continue
		}
		rows++
		for by := range strings.SplitSeq(cells[3], ",") {
			name := strings.Trim(by, " `")
			if strings.HasPrefix(name, "Test") {
				assert.Contains(t, code.String(), "\nfunc "+name+"(t *testing.T) {", "promise %q", cells[1])
			} else {
				assert.Regexp(t, `(?m)^(//)?\s+`+name+`\s`, code.String(), "promise %q", cells[1])
			}
		}
	}
	assert.Greater(t, rows, 15, "promises")
}

// TestLimitsAreHeld: each row of docs/LIMITS.md names tests that exist, and so does SECURITY.md.
func TestLimitsAreHeld(t *testing.T) {
	limits, err := os.ReadFile("docs/LIMITS.md")
	require.NoError(t, err)
	var code strings.Builder
	sources(t, ".go", func(name, text string) {
		if strings.HasSuffix(name, "_test.go") {
			code.WriteString(text)
		}
	})
	rows, tests := 0, regexp.MustCompile("`(Test[A-Za-z]+)`")
	for line := range strings.Lines(string(limits)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasSuffix(line, " held by |") || strings.HasSuffix(line, " test |") {
			continue
		}
		rows++
		cells := strings.Split(line, "|")
		named := tests.FindAllStringSubmatch(cells[len(cells)-2], -1)
		assert.NotEmpty(t, named, "no test holds: %s", line)
		for _, name := range named {
			assert.Contains(t, code.String(), "\nfunc "+name[1]+"(t *testing.T) {", "limit %q", cells[1])
		}
	}
	assert.Greater(t, rows, 50, "limits")

	security, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	named := tests.FindAllStringSubmatch(string(security), -1)
	assert.Greater(t, len(named), 30, "tests named in SECURITY.md")
	for _, name := range named {
		assert.Contains(t, code.String(), "\nfunc "+name[1]+"(t *testing.T) {", "SECURITY.md")
	}
}

// TestDecisionsAreDated: each decision has its number and date.
func TestDecisionsAreDated(t *testing.T) {
	records, err := filepath.Glob("docs/decisions/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, records)
	for _, name := range records {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		number := strings.TrimLeft(filepath.Base(name)[:4], "0")
		assert.Regexp(t, `^# 0*`+number+`[:.] .*\n\n(Date: )?20\d\d-\d\d-\d\d`, string(text), "%s", name)
	}
}
