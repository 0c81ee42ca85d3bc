package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// command is a shell command that prints a key. Its text may hold a secret, so the shell gets it by the environment: the
// arguments of a process can be read by everyone on the machine.
type command struct {
	text  string
	parse func(text, from string) (key, error)
}

const commandVariable = "TOKENCLOCK_KEY_COMMAND"

func (c command) get(ctx context.Context) (key, error) {
	cmd := shell(ctx)
	cmd.Env = append(os.Environ(), commandVariable+"="+c.text)
	out := &limited{left: keyBytes}
	cmd.Stdout = out // its standard error may hold a secret, and is shown nowhere
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return key{}, fmt.Errorf("the command of API_KEY_COMMAND took longer than %s", getTimeout)
	case errors.As(err, &exit):
		return key{}, fmt.Errorf("the command of API_KEY_COMMAND ended with exit code %d; run it by itself to see why", exit.ExitCode())
	case err != nil:
		return key{}, errors.New("the command of API_KEY_COMMAND could not be run: there is no shell")
	case out.left < 0:
		return key{}, fmt.Errorf("the command of API_KEY_COMMAND printed more than %d bytes, which no key has", keyBytes)
	}
	return c.parse(out.String(), "the command of API_KEY_COMMAND")
}

func (command) changed() bool { return false }

func (c command) secrets() []string { return nil }

// limited keeps the first bytes of what is written.
type limited struct {
	bytes.Buffer
	left int // below 0: there was more
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left >= 0 {
		l.Buffer.Write(b[:min(len(b), l.left)])
		l.left -= len(b)
	}
	return len(b), nil
}
