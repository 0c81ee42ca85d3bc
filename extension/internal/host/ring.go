package host

// RingStats is what the packet ring says of itself, since it was opened.
type RingStats struct {
	Open bool
	Why  string // why it is not open, or did not serve every connection

	Drops      uint64 // packets that the ring had no room for
	Touched    uint64 // streams that a drop touched: the socket stamped them
	Duplicates uint64 // packets that brought nothing new
	OutOfOrder uint64 // packets that came before an earlier one
}
