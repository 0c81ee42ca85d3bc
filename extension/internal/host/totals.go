// Package host says what the host did to this process while it measured: for how long it was stopped, throttled by a
// cgroup's CPU quota, suspended with the machine, or robbed of its processors by a hypervisor.
package host

// Totals count up from the moment at which their source was opened. A total is 0 where its flag is false: the host does
// not say.
type Totals struct {
	WaitedNs    int64 // this process's threads were ready to run and waited for a core; summed over threads
	ThrottledNs int64 // a cgroup of this process was out of CPU quota; summed over processors
	Throttles   int64 // quota periods in which that happened
	StolenNs    int64 // the hypervisor ran something else; of the whole machine, summed over processors

	Processors int // of the machine; 0 where StolenKnown is false

	WaitedKnown, ThrottledKnown, StolenKnown bool
}

// Source is what a Watch asks of the host.
type Source interface {
	// Totals reads the totals; steal only where it is asked for, as the file that has it is slow on large machines.
	Totals(steal bool) Totals
	// SuspendedNs is for how long the machine was suspended since it booted. CLOCK_MONOTONIC stands still meanwhile.
	SuspendedNs() int64
}
