//go:build !linux

package child

import "syscall"

// attributes are nil where the system cannot tie a child to its parent. An interrupt from the terminal then ends both.
func attributes() *syscall.SysProcAttr { return nil }

func frozen(int) bool { return true } // assumed: the system does not report it
