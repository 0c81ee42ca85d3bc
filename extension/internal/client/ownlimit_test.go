package client

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenclock/tokenclock/extension/internal/stream"
)

func TestHostLimit_IsNotTheServersFailure(t *testing.T) {
	for errno, own := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.EADDRNOTAVAIL: true, syscall.ENOBUFS: true,
		syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false,
	} {
		c := newClient(t, "http://127.0.0.1:1/v1/completions", func(o *Options) {
			o.Dial = func(context.Context, string, string) (Counted, error) {
				return Counted{}, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", errno)}
			}
		})
		m := c.Do(t.Context(), &Request{})
		require.Equal(t, stream.Connect, m.Failure, errno)
		if own {
			require.Equal(t, errno, m.OwnLimit())
		} else {
			require.Zero(t, m.OwnLimit(), errno)
		}
		m.Release()
		require.Zero(t, m.OwnLimit())
	}
	s := serve(t, listen(t), answerThree)
	m := newClient(t, "http://"+s.Addr().String()+"/v1/completions", nil).Do(t.Context(), &Request{})
	defer m.Release()
	require.Equal(t, stream.None, m.Failure)
	require.Zero(t, m.OwnLimit())
}
