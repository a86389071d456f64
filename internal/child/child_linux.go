package child

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// attributes make a child terminate with the thread that started it, which lives as long.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// frozen reports whether all threads of a process are stopped.
func frozen(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		// After the name, which is in parentheses and may contain any character.
		if rest := text[bytes.LastIndexByte(text, ')')+1:]; len(rest) < 2 || rest[1] != 'T' {
			return false
		}
	}
	return len(stats) > 0
}
