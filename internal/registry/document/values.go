package document

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxDuration is the longest time that a file can name.
const MaxDuration = 24 * time.Hour

// Duration is a time above zero, written "30s" or "1m30s", or as a whole number
// of milliseconds, as LibreChat has it. Zero means that none was given.
type Duration time.Duration

// DecodeNode reads the time.
func (d *Duration) DecodeNode(n *Node) (message, fix string) {
	const write = `write a duration such as 30s, 5m or 1m30s, or a whole number of milliseconds`
	var v time.Duration
	switch n.Kind {
	case Number:
		ms, err := strconv.ParseInt(n.Text, 10, 64)
		if err != nil || ms > int64(MaxDuration/time.Millisecond) || ms < 0 {
			return "is not a time that can be waited for", write
		}
		v = time.Duration(ms) * time.Millisecond
	case String:
		var err error
		if v, err = time.ParseDuration(n.Text); err != nil {
			return fmt.Sprintf("%q is not a duration", n.Text), write
		}
	default:
		return "must be a duration, not " + n.Kind.String(), write
	}
	switch {
	case v <= 0:
		return "must be longer than nothing", write
	case v > MaxDuration:
		return "is longer than a day", "write 24h or less"
	}
	*d = Duration(v)
	return "", ""
}

// LikelySeconds says so when a number without a unit is too small to be meant as
// milliseconds: some products count seconds. Both texts are empty otherwise.
func (d Duration) LikelySeconds(n *Node) (message, fix string) {
	if n.IsNull() || n.Kind != Number || d <= 0 || d >= Duration(time.Second) {
		return "", ""
	}
	return n.Text + " means " + n.Text + " milliseconds", "write " + n.Text + "s for seconds"
}

// MaxSize is the largest Size that a file can name.
const MaxSize = 64 << 30

// Size is a number of bytes above zero, written 4MiB, 512KiB, 4MB or 65536. Zero
// means that none was given.
type Size int64

// DecodeNode reads the size.
func (s *Size) DecodeNode(n *Node) (message, fix string) {
	const write = `write a size such as 512KiB or 4MiB, or a whole number of bytes`
	if n.Kind != Number && n.Kind != String {
		return "must be a size, not " + n.Kind.String(), write
	}
	digits := strings.TrimRight(n.Text, "KMGTiBkmgtb ")
	unit, ok := map[string]float64{
		"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 1e3, "mb": 1e6, "gb": 1e9,
	}[strings.ToLower(strings.TrimSpace(n.Text[len(digits):]))]
	v, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || v*unit != math.Trunc(v*unit) {
		return fmt.Sprintf("%q is not a size", n.Text), write
	}
	switch v *= unit; {
	case v <= 0:
		return "must be larger than nothing", write
	case v > MaxSize:
		return "is larger than 64GiB", "write 64GiB or less"
	}
	*s = Size(v)
	return "", ""
}

// Rate is how many of something there may be in a time, written 600/m, 10/s, 5000/h
// or 20/10s. The zero value means that none was given.
type Rate struct {
	Calls int
	Per   time.Duration
}

// MaxRate is the most that a Rate can name.
const MaxRate = 1_000_000_000

// DecodeNode reads the rate.
func (r *Rate) DecodeNode(n *Node) (message, fix string) {
	const write = "write a rate such as 600/m, 10/s or 5000/h"
	if n.Kind != String {
		return "must be a rate, not " + n.Kind.String(), write
	}
	calls, unit, _ := strings.Cut(n.Text, "/")
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[unit]
	if !ok {
		var err error
		if per, err = time.ParseDuration(unit); err != nil {
			return fmt.Sprintf("%q is not a rate", n.Text), write
		}
	}
	count, err := strconv.Atoi(calls)
	switch {
	case err != nil || calls[0] == '+':
		return fmt.Sprintf("%q is not a rate", n.Text), write
	case count <= 0:
		return "allows nothing", "write 1 or more; disabled: true leaves a server out"
	case count > MaxRate:
		return fmt.Sprintf("is more than %d", MaxRate), "remove it for no bound"
	case per < time.Second || per > MaxDuration:
		return "is for a time that is not between a second and a day", write
	}
	*r = Rate{Calls: count, Per: per}
	return "", ""
}
