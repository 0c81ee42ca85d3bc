// Package slab keeps many texts in little more memory than they have bytes.
package slab

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

const (
	// blockBytes is taken from the system at a time. Only the part of a block that holds text is memory.
	blockBytes = 4 << 20
	// pageTexts is how many places lie in one piece: a list that grows in one piece is copied each time, and kept twice.
	pageTexts = 4096
)

// Slab holds texts by number. Its texts lie outside Go's heap, where there is such memory: a heap that holds them would grow by
// as many bytes again, and more, between two collections. The zero Slab is empty. One goroutine fills it; then any may read it.
type Slab struct {
	blocks [][]byte
	free   []byte               // the rest of the last block
	places []*[pageTexts]uint64 // of each text: its block's number in the upper half, its offset in that in the lower
	count  int
	bytes  int
}

// Len returns the number of texts.
func (s *Slab) Len() int { return s.count }

// Add adds a text behind the others.
func (s *Slab) Add(text string) {
	size := binary.MaxVarintLen64 + len(text)
	if size > len(s.free) {
		block := newBlock(max(blockBytes, size))
		s.blocks = append(s.blocks, block)
		s.free = block
	}
	if s.count == len(s.places)*pageTexts {
		s.places = append(s.places, new([pageTexts]uint64))
	}
	last := len(s.blocks) - 1
	s.setPlace(s.count, uint64(last)<<32|uint64(len(s.blocks[last])-len(s.free)))
	n := binary.PutUvarint(s.free, uint64(len(text)))
	n += copy(s.free[n:], text)
	s.free = s.free[n:]
	s.count++
	s.bytes += n
}

// At returns text number k, from 0.
func (s *Slab) At(k int) (string, error) {
	if k < 0 || k >= s.count {
		return "", fmt.Errorf("text %d of %d", k, s.count)
	}
	return string(s.view(k)), nil
}

// view is text k where it lies.
func (s *Slab) view(k int) []byte {
	place := s.place(k)
	at := s.blocks[place>>32][uint32(place):]
	size, n := binary.Uvarint(at)
	return at[n : n+int(size)]
}

// Keep returns a slab of the texts with these numbers, in this order. s is used no more. Where most of the text goes, its memory
// is given back.
func (s *Slab) Keep(numbers []uint32) (*Slab, error) {
	kept := 0
	for _, k := range numbers {
		if int(k) >= s.count {
			return nil, fmt.Errorf("text %d of %d", k, s.count)
		}
		kept += len(s.view(int(k)))
	}
	if kept < s.bytes/2 {
		small := &Slab{}
		for _, k := range numbers {
			text := s.view(int(k))
			small.Add(unsafe.String(unsafe.SliceData(text), len(text)))
		}
		for _, block := range s.blocks {
			freeBlock(block)
		}
		*s = Slab{}
		return small, nil
	}
	ordered := &Slab{blocks: s.blocks, free: s.free, count: len(numbers), bytes: s.bytes}
	for i := 0; i < len(numbers); i += pageTexts {
		ordered.places = append(ordered.places, new([pageTexts]uint64))
	}
	for i, k := range numbers {
		ordered.setPlace(i, s.place(int(k)))
	}
	*s = Slab{}
	return ordered, nil
}

func (s *Slab) place(k int) uint64        { return s.places[k/pageTexts][k%pageTexts] }
func (s *Slab) setPlace(k int, to uint64) { s.places[k/pageTexts][k%pageTexts] = to }
