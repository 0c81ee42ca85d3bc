package tokenclock

// checkCapacity knows no limit to check here.
func checkCapacity(int) error { return nil }
