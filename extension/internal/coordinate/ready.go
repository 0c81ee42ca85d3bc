package coordinate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// k6's status from which on all of its VUs are initialized (PausedBeforeRun of its execution statuses). Its API answers
// long before: instances that are released on its first answer begin seconds apart.
const pausedBeforeRun = 4

// NewReadyCommand returns the command "ready": a readiness probe of a k6 that waits in --paused.
func NewReadyCommand() *cobra.Command {
	var address string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Say whether the k6 at --address has all of its VUs ready to run (a readiness probe)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ready(ctx, address)
		},
	}
	cmd.Flags().StringVar(&address, "at", "127.0.0.1:6565", "address of its REST API")
	cmd.Flags().DurationVar(&timeout, "within", 3*time.Second, "how long to wait for its answer")
	return cmd
}

func ready(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/status", nil)
	if err != nil {
		return err
	}
	reply, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	var status struct {
		Data struct {
			Attributes struct {
				Status *int `json:"status"`
			} `json:"attributes"`
		} `json:"data"`
	}
	if err := json.NewDecoder(reply.Body).Decode(&status); err != nil || status.Data.Attributes.Status == nil {
		return errors.Join(errors.New("not ready: the answer is none of k6's REST API"), err)
	}
	if n := *status.Data.Attributes.Status; n < pausedBeforeRun {
		return fmt.Errorf("not ready: k6's status is %d, its VUs are ready from %d on", n, pausedBeforeRun)
	}
	return nil
}
