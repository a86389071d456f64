// Package child runs programs as child processes that do not outlive this one: for
// tests (most of them by way of package servers), benchmarks and examples.
//
// # Where programs come from
//
// An environment variable names the file, such as CROSSROOM_REDIS_SERVER for
// redis-server; otherwise .tools/redis-server below the module's root is taken,
// otherwise PATH is searched.
//
// # Nothing stays behind
//
// Each child is started from a thread of its own that lives as long as the child,
// and on Linux is told to die with that thread (Pdeathsig): a process that is killed,
// panics or times out takes its children with it. As nothing else is needed to end
// them, they are a process group of their own there: an interrupt from the terminal
// is for the parent alone, which ends them in its own order.
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

// patience is how long a child may take until it is ready, and to end.
const patience = 20 * time.Second

// Process is a child. Its methods are safe for concurrent use.
type Process struct {
	// Input is the child's standard input, nil if nobody listens to the child.
	Input io.WriteCloser

	proc   *os.Process
	exited chan struct{}
	err    error // after exited is closed
}

// Start starts a command. If listen is not nil it gets the child's standard output, in
// the goroutine that waits for the child, and reads it to its end: what the child says
// after listen has returned breaks its pipe.
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
		// The signal on the parent's death is tied to the thread that forked. Go may
		// end a thread at any time, so this one is kept for as long as the child.
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

// Signal sends a signal. A process that has ended does not mind.
func (p *Process) Signal(sig syscall.Signal) { _ = p.proc.Signal(sig) }

// Freeze stops the process (SIGSTOP) and returns when all of it stands still, for which
// there is no promise but on Linux. SIGCONT has it go on.
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

// Exited is closed when the child has ended and all of its output was heard.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err returns how the child ended, as exec.Cmd.Wait does; call it when Exited is closed.
func (p *Process) Err() error { return p.err }

// Finish waits for the end of a child that was asked for it, by a signal or the end of
// its input, and kills it after twenty seconds. It returns how it ended.
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

// Await waits until ready returns nil; it is called again and again, with two seconds
// for each call. A child that is not ready after twenty seconds, or when ctx ends, is
// killed.
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
			return fmt.Errorf("ended at once: %v", p.err)
		case <-ctx.Done():
			p.Signal(syscall.SIGKILL)
			<-p.exited
			return fmt.Errorf("not ready: %w: %w", ctx.Err(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
