//go:build !linux

package child

import "syscall"

// attributes are none where the system cannot tie a child to its parent: then an
// interrupt from the terminal has to end both.
func attributes() *syscall.SysProcAttr { return nil }

func frozen(int) bool { return true } // as far as one knows
