package host

// RingStats is what the packet ring counted since it was opened.
type RingStats struct {
	Packets    int64 `json:"packets"`    // of the client's connections
	Drops      int64 `json:"drops"`      // packets that the ring had no room for
	LostBytes  int64 `json:"lostBytes"`  // read and not stamped by the ring
	Duplicates int64 `json:"duplicates"` // packets that brought nothing new
	Reordered  int64 `json:"reordered"`  // packets that came before an earlier one
}
