package policy

import (
	"container/heap"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/jackfield-dev/jackfield"
)

// defaultMax is how many buckets there are when nobody says it.
const defaultMax = 65_536

// Rates counts calls. Make one with NewRates. Admit may be called concurrently.
type Rates struct {
	principal jackfield.Rate
	max       int

	mu      sync.Mutex // guards what follows
	buckets map[of]*bucket
	byFull  fullness
}

// of is whose calls a bucket counts: a principal's, of a server, or both.
type of struct {
	subject string
	server  jackfield.ServerID
}

// limit is a rate that a call has to keep.
type limit struct {
	of
	jackfield.Rate
	name string
}

// bucket is what is left of one rate.
type bucket struct {
	of
	rate  jackfield.Rate
	left  *rate.Limiter
	full  time.Time // when it is full, if nobody takes from it
	index int       // in byFull
}

// NewRates bounds what each principal may do by one rate, and what servers say by
// theirs. There are at most so many buckets; 0 means 65,536.
func NewRates(perPrincipal jackfield.Rate, most int) *Rates {
	if most <= 0 {
		most = defaultMax
	}
	// A call needs three at once.
	return &Rates{principal: perPrincipal, max: max(most, 3), buckets: map[of]*bucket{}}
}

// The names of the rates in the configuration.
const (
	limitPrincipal = "limits.rate"
	limitServer    = "rate"
	limitPerson    = "ratePerPerson"
)

// Admit counts a call of a principal to a server. Its error has the code Exhausted and a
// Failure that says which rate is used up and when the next call may be; then nothing
// was counted.
func (r *Rates) Admit(p jackfield.Principal, s *jackfield.Server) error {
	wanted := [...]limit{
		{of{subject: p.Subject}, r.principal, limitPrincipal},
		{of{server: s.ID}, s.Usage.Rate, limitServer},
		{of{subject: p.Subject, server: s.ID}, s.Usage.PersonRate, limitPerson},
	}
	if !bounds(wanted[0].Rate) && !bounds(wanted[1].Rate) && !bounds(wanted[2].Rate) {
		return nil
	}
	now := time.Now()
	var taken [len(wanted)]*bucket
	var refuses *limit
	next := now
	r.mu.Lock()
	for i := range wanted {
		w := &wanted[i]
		if !bounds(w.Rate) {
			continue
		}
		b := r.bucketLocked(w.of, w.Rate, now, taken[:])
		taken[i] = b
		if tokens := b.left.TokensAt(now); tokens < 1 {
			// The rate whose next call is last: before it, no other helps.
			if at := now.Add(b.takes(1 - tokens)); refuses == nil || at.After(next) {
				refuses, next = w, at
			}
		}
	}
	if refuses == nil {
		for _, b := range taken {
			if b != nil {
				b.left.AllowN(now, 1)
				r.noteLocked(b, now)
			}
		}
	}
	r.mu.Unlock()
	if refuses == nil {
		return nil
	}
	return exhausted(p, s, *refuses, now, next)
}

// exhausted is the error of a rate that is used up.
func exhausted(p jackfield.Principal, s *jackfield.Server, l limit, now, next time.Time) error {
	what := map[string]string{
		limitPrincipal: fmt.Sprintf("%q may make", p.Subject),
		limitServer:    fmt.Sprintf("server %q may be sent", s.Name),
		limitPerson:    fmt.Sprintf("each person may send server %q", s.Name),
	}[l.name]
	wait := max((next.Sub(now) + 99*time.Millisecond).Truncate(100*time.Millisecond), 100*time.Millisecond)
	err := jackfield.OverLimit(l.name, "%s %d calls in %s, and these are used up; try again in %s", what, l.Calls, short(l.Per), wait)
	jackfield.FailureOf(err).Next = next
	return err
}

// short is a time as people write it: 1m, not 1m0s.
func short(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

func bounds(r jackfield.Rate) bool { return r.Calls > 0 && r.Per > 0 }

func perSecond(r jackfield.Rate) rate.Limit { return rate.Limit(float64(r.Calls) / r.Per.Seconds()) }

// bucketLocked is the bucket for these calls, with their rate as it is now. Those in use
// stay. mu is held.
func (r *Rates) bucketLocked(whose of, at jackfield.Rate, now time.Time, inUse []*bucket) *bucket {
	b := r.buckets[whose]
	if b == nil {
		b = &bucket{of: whose, rate: at, left: rate.NewLimiter(perSecond(at), at.Calls), full: now}
		if len(r.buckets) >= r.max {
			b.pour(r.evictLocked(now, inUse), now)
		}
		r.buckets[whose] = b
		heap.Push(&r.byFull, b)
	}
	if b.rate != at {
		b.rate = at
		b.left.SetLimitAt(now, perSecond(at))
		b.left.SetBurstAt(now, at.Calls)
		r.noteLocked(b, now)
	}
	return b
}

// noteLocked notes when a bucket is full, after it was taken from. mu is held.
func (r *Rates) noteLocked(b *bucket, now time.Time) {
	b.full = now.Add(b.takes(float64(b.rate.Calls) - b.left.TokensAt(now)))
	heap.Fix(&r.byFull, b.index)
}

// evictLocked forgets the bucket that is full first, and says which part of it is
// filled. mu is held.
func (r *Rates) evictLocked(now time.Time, inUse []*bucket) float64 {
	var aside []*bucket
	b := heap.Pop(&r.byFull).(*bucket)
	for slices.Contains(inUse, b) {
		aside = append(aside, b)
		b = heap.Pop(&r.byFull).(*bucket)
	}
	for _, a := range aside {
		heap.Push(&r.byFull, a)
	}
	delete(r.buckets, b.of)
	return b.left.TokensAt(now) / float64(b.rate.Calls)
}

// pour leaves of a new bucket this part, and enough for one call.
func (b *bucket) pour(part float64, now time.Time) {
	if over := b.rate.Calls - max(int(part*float64(b.rate.Calls)), 1); over > 0 {
		b.left.AllowN(now, over)
		b.full = now.Add(b.takes(float64(over)))
	}
}

// takes is how long it takes until there is so much more in the bucket.
func (b *bucket) takes(tokens float64) time.Duration {
	return time.Duration(tokens*float64(b.rate.Per)/float64(b.rate.Calls)) + 1 // rounded up
}

// fullness is buckets in the order in which they will be full.
type fullness []*bucket

func (f fullness) Len() int           { return len(f) }
func (f fullness) Less(i, j int) bool { return f[i].full.Before(f[j].full) }

func (f fullness) Swap(i, j int) {
	f[i], f[j] = f[j], f[i]
	f[i].index, f[j].index = i, j
}

// Push is of heap.Interface.
func (f *fullness) Push(b any) {
	b.(*bucket).index = len(*f)
	*f = append(*f, b.(*bucket))
}

// Pop is of heap.Interface.
func (f *fullness) Pop() any {
	last := len(*f) - 1
	b := (*f)[last]
	(*f)[last], *f = nil, (*f)[:last]
	return b
}
