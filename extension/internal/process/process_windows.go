package process

import "os"

// terminateSelf ends this process: Windows has no signal that k6 winds down on and that a process can send itself.
func terminateSelf() { os.Exit(int(exitInterrupted)) }

// exitInterrupted is k6's exit code of a run that a signal ended.
const exitInterrupted = 105

// processExists reports whether there is a process of this id.
func processExists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err == nil {
		_ = p.Release()
	}
	return err == nil
}
