package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// grace is how long a process may take to end when it is asked to.
const grace = 2 * time.Second

// execute runs the workload's process in a group until it ends or ctx does,
// and says why it ended.
func (p *pod) execute(ctx context.Context, group *group, out *logFile) (string, error) {
	cmd := exec.CommandContext(ctx, p.demo.opts.Exe, Command, p.name, strconv.FormatFloat(p.demo.opts.speed, 'g', -1, 64))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	cmd.Env = []string{}
	stdout, stderr := out.stream("stdout"), out.stream("stderr")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A group of its own keeps the terminal's Ctrl-C from it: it is stopped by
	// us. Should we be killed, so is it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// The process waits for a byte, so that all it does is done in its group,
	// and ends when the pipe is closed.
	hold, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	joinErr := group.join(cmd.Process.Pid)
	if joinErr != nil {
		p.log.Warn("A demo container runs outside of its cgroup.", "container", p.container, "reason", joinErr)
	}
	_, _ = hold.Write([]byte{'\n'}) // if it is dead already, Wait tells
	p.log.Debug("A demo container started.", "container", p.container, "pid", cmd.Process.Pid)
	err = cmd.Wait()
	if endErr := errors.Join(stdout.end(), stderr.end()); endErr != nil {
		return "", endErr
	}
	return ending(err, group.oomKilled()), nil
}

// ending names what a process ended with, as the kubelet does.
func ending(err error, oom bool) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "Completed"
	case oom:
		return "OOMKilled"
	case errors.As(err, &exit) && exit.Exited():
		return fmt.Sprintf("Error, exit code %d", exit.ExitCode())
	default:
		return "Error, " + err.Error()
	}
}
