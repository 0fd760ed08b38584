package pool

import (
	"cmp"
	"math"
	"time"
)

// Limits bound what a Pool does. Zero fields mean the defaults.
type Limits struct {
	// Dials in flight. Half of those of the process are for servers that have none.
	DialsProcess int // 64
	DialsServer  int // 8
	DialsOwner   int // 16 for each scope; a dial older than one second no longer counts
	Queue        int // 4096: dials that wait for a place
	QueueServer  int // 1024: of one server

	// Open connections: those being dialed, in use, idle, draining and closing. The
	// app's own scope has no owner's budget.
	OpenProcess   int // 4096
	OpenServer    int // 1024
	OpenOwner     int // 64 for each scope
	ChildrenOwner int // 32 for each scope: those of Options.Child

	// Patience is how long a dial waits for a place among the open connections
	// while none is idle: 2 s. Negative: not at all.
	Patience time.Duration

	Idle       time.Duration // a connection that nobody leases is closed after: 15 min
	Drain      time.Duration // leases on a draining connection end after: 5 min
	Close      time.Duration // one Conn.Close may take: 10 s
	BackoffMin time.Duration // the longest wait after the first failure: 1 s; it doubles with each
	BackoffMax time.Duration // the longest wait of all: 30 s

	// BackoffRefused is the longest wait while nobody is at a server's address, or a
	// proxy there says so, which costs nobody anything to find out: 750 ms.
	BackoffRefused time.Duration

	Failed int           // keys whose failures are remembered: 4096, the oldest are forgotten first
	Forget time.Duration // a failure that time may end is forgotten this long after it may: 10 min
}

const (
	ownerDialAge  = time.Second      // an older dial no longer counts for its owner
	dialMax       = 10 * time.Minute // the end of a dial whose own deadline is missing
	retryAfterMax = time.Hour        // the longest Retry-After that is believed
	tripAfter     = 3                // failures that open the breaker of a server
)

func (l Limits) withDefaults() Limits {
	l.DialsProcess = cmp.Or(l.DialsProcess, 64)
	l.DialsServer = cmp.Or(l.DialsServer, 8)
	l.DialsOwner = cmp.Or(l.DialsOwner, 16)
	l.Queue = cmp.Or(l.Queue, 4096)
	l.QueueServer = cmp.Or(l.QueueServer, 1024)
	l.OpenProcess = cmp.Or(l.OpenProcess, 4096)
	l.OpenServer = cmp.Or(l.OpenServer, 1024)
	l.OpenOwner = cmp.Or(l.OpenOwner, 64)
	l.ChildrenOwner = cmp.Or(l.ChildrenOwner, 32)
	l.Patience = cmp.Or(l.Patience, 2*time.Second)
	l.Idle = cmp.Or(l.Idle, 15*time.Minute)
	l.Drain = cmp.Or(l.Drain, 5*time.Minute)
	l.Close = cmp.Or(l.Close, 10*time.Second)
	l.BackoffMin = cmp.Or(l.BackoffMin, time.Second)
	l.BackoffMax = cmp.Or(l.BackoffMax, 30*time.Second)
	l.BackoffRefused = cmp.Or(l.BackoffRefused, 750*time.Millisecond)
	l.Failed = cmp.Or(l.Failed, 4096)
	l.Forget = cmp.Or(l.Forget, 10*time.Minute)
	return l
}

// unlimited is the limit of a budget that nobody set.
const unlimited = math.MaxInt
