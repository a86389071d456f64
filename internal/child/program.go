package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program returns the path of a program: the file named by an environment variable (CROSSROOM_REDIS_SERVER for
// redis-server), else .tools/name at the module's root, else name in PATH.
func Program(name string) (string, error) {
	env := "CROSSROOM_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
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
		return "", fmt.Errorf("not named by %s, not in .tools and not in PATH; run scripts/setup", env)
	}
	return path, nil
}

// moduleRoot returns the directory of this module's go.mod, in or above the working directory. It skips nested
// modules.
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
