//go:build unix

package slab

import "golang.org/x/sys/unix"

// newBlock returns zeroed memory outside Go's heap, or of the heap where the system gives none.
func newBlock(size int) []byte {
	block, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, size)
	}
	return block
}

// freeBlock gives the memory back; nothing may refer to it any more. Memory of the heap is left to the collector.
func freeBlock(block []byte) { _ = unix.Munmap(block) }
