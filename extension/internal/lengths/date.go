package lengths

import (
	"strconv"
	"strings"
	"time"
)

// date takes `2024-05-10 00:00:00.1234567+00:00`: with T or a space in the middle, a fraction or none, and an offset from UTC
// where l.Zoned says so.
func (w *row) date(l *Likeness, text string) bool {
	const plain = len("2024-05-10 00:00:00")
	if len(text) < plain || (text[10] != ' ' && text[10] != 'T') || text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':' {
		return false
	}
	year, month, day := digits(text[:4]), digits(text[5:7]), digits(text[8:10])
	hour, minute, second := digits(text[11:13]), digits(text[14:16]), digits(text[17:19])
	if year < 1970 || min(month, day, hour, minute, second) < 0 || hour > 23 || minute > 59 || second > 59 {
		return false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if at.Month() != time.Month(month) || at.Day() != day {
		return false
	}
	rest := text[plain:]
	fraction := 0.0
	if strings.HasPrefix(rest, ".") {
		n := 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		var err error
		if fraction, err = strconv.ParseFloat(rest[:n], 64); err != nil {
			return false
		}
		rest = rest[n:]
	}
	offset, zoned, ok := offsetMinutes(strings.TrimPrefix(rest, " "))
	if !ok || zoned != l.Zoned || (rest != "" && !zoned) {
		return false
	}
	// In this order: a double holds whole ms and what is left of them, not both of all years.
	w.time = float64(at.UnixMilli()-int64(offset)*60_000) - l.OriginMs + fraction*1000
	return true
}

// offsetMinutes reads nothing, Z, UTC, +01:00 or +0100.
func offsetMinutes(text string) (minutes int, zoned, ok bool) {
	switch text {
	case "":
		return 0, false, true
	case "Z", "UTC":
		return 0, true, true
	}
	var hours, rest string
	switch {
	case len(text) == len("+01:00") && text[3] == ':':
		hours, rest = text[1:3], text[4:]
	case len(text) == len("+0100"):
		hours, rest = text[1:3], text[3:]
	default:
		return 0, false, false
	}
	h, m := digits(hours), digits(rest)
	if h < 0 || m < 0 || (text[0] != '+' && text[0] != '-') {
		return 0, false, false
	}
	minutes = h*60 + m
	if text[0] == '-' {
		minutes = -minutes
	}
	return minutes, true, true
}

// digits reads a text of digits; -1: it is none.
func digits(text string) int {
	n := 0
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return -1
		}
		n = 10*n + int(text[i]-'0')
	}
	return n
}
