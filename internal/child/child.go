// Package child runs programs as child processes that do not outlive this one: for tests (most of them through package
// servers), benchmarks and examples.
//
// # Where programs come from
//
// An environment variable names the file, such as CROSSROOM_REDIS_SERVER for redis-server. Otherwise the package uses
// .tools/redis-server below the module's root, and otherwise searches PATH.
//
// # No process stays behind
//
// Each child is started on a thread of its own that lives as long as the child. On Linux the child is killed when that
// thread ends (Pdeathsig), so a parent that is killed, panics or times out takes its children with it. There the
// children form a process group of their own: an interrupt from the terminal reaches the parent alone, which ends them
// in its own order.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// patience limits how long a child may take to become ready, and to terminate.
const patience = 20 * time.Second

// Process is a child process. Its methods are safe for concurrent use.
type Process struct {
	// Input is the child's standard input; nil if Start got no listen.
	Input io.WriteCloser

	proc   *os.Process
	exited chan struct{}
	err    error // after exited is closed
}

// Start starts a command. If listen is not nil, it reads the child's standard output, on the goroutine that waits for
// the child, until its end. Output after listen has returned breaks the child's pipe.
func Start(cmd *exec.Cmd, listen func(output io.Reader)) (*Process, error) {
	cmd.SysProcAttr = attributes()
	p := &Process{exited: make(chan struct{})}
	var output io.Reader
	if listen != nil {
		var err1, err2 error
		p.Input, err1 = cmd.StdinPipe()
		output, err2 = cmd.StdoutPipe()
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
	}
	started := make(chan error, 1)
	go func() {
		// The signal on the parent's death is tied to the thread that forked. Go may end a thread at any time, so this
		// one is kept for as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := cmd.Start()
		p.proc = cmd.Process
		started <- err
		if err != nil {
			return
		}
		if listen != nil {
			listen(output)
		}
		p.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.proc.Pid }

// Signal sends a signal. It does nothing if the process has terminated.
func (p *Process) Signal(sig syscall.Signal) { _ = p.proc.Signal(sig) }

// Freeze stops the process (SIGSTOP). On Linux it returns when all threads of the process have stopped. SIGCONT
// resumes the process.
func (p *Process) Freeze() {
	p.Signal(syscall.SIGSTOP)
	for end := time.Now().Add(patience); !frozen(p.Pid()) && time.Now().Before(end); {
		select {
		case <-p.exited:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// Exited returns a channel that is closed when the child has terminated and all of its output was read.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err returns how the child terminated, like exec.Cmd.Wait. Call it when Exited is closed.
func (p *Process) Err() error { return p.err }

// Finish waits for a child that was requested to terminate, by a signal or the end of its input. After twenty seconds
// it kills the child. It returns how the child terminated.
func (p *Process) Finish() error {
	select {
	case <-p.exited:
		return p.err
	case <-time.After(patience):
		p.Signal(syscall.SIGKILL)
		<-p.exited
		return fmt.Errorf("did not end within %v and was killed", patience)
	}
}

// Await calls ready, with two seconds for each call, until it returns nil. If that takes twenty seconds, or ctx ends,
// Await kills the child.
func (p *Process) Await(ctx context.Context, ready func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := ready(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("terminated at once: %v", p.err)
		case <-ctx.Done():
			p.Signal(syscall.SIGKILL)
			<-p.exited
			return fmt.Errorf("not ready: %w: %w", ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
