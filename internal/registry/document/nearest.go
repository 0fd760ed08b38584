package document

import "strings"

// Nearest is the candidate that was most likely meant by a mistyped word, or "".
// Case, dashes and underscores do not count; otherwise a third of the letters,
// at most two, may differ.
func Nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, bestDistance := "", 3
	for _, c := range candidates {
		d := distance(fold(word), fold(c))
		if d < bestDistance && d <= max(len(c), len(word))/3 {
			best, bestDistance = c, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance counts the letters to insert, delete, change or swap with their
// neighbour to get from a to b (Damerau's, with adjacent swaps).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int // the row two above
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		next := make([]int, len(y)+1)
		next[0] = i
		for j := 1; j <= len(y); j++ {
			change := row[j-1]
			if x[i-1] != y[j-1] {
				change++
			}
			next[j] = min(change, row[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(y)]
}
