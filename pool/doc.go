// Package pool leases shared connections.
//
// Connections are shared, as HTTP/2 connections are: many callers hold leases on
// one connection at a time. A [Key] decides which calls may share; [Pool.Acquire]
// gives a lease on the key's connection and dials it first when there is none.
// Nothing is dialed that nobody asked for, and nothing is dialed again because it
// broke: only a caller brings a connection back.
//
//	           Acquire              dial ok
//	(absent) ───────────▶ Connecting ───────▶ Ready ──┐ idle too long · stale · Reset · died
//	    ▲                     │ dial failed           ▼
//	    └── newer version, ◀── Failed              Draining ──▶ closed when the last lease is
//	        Reset, time        (backoff, breaker)               released, or at drain timeout
//
// The package knows nothing of protocols: a connection is anything with the three
// methods of [Conn].
//
// # What always holds
//
// With each rule, the tests that fail without it.
//
//  1. A key has at most one slot in the map, and a slot dials at most once: N first
//     callers cause one dial.
//     TestManyFirstCallersCauseOneDial, TestWhatIsSlowToOpenIsJoinedByLaterCallers.
//  2. The dial belongs to the pool, not to its first caller: a caller that leaves
//     takes only itself away. A dial that is still queued and that nobody waits for
//     is dropped.
//     TestACallerThatLeavesTakesOnlyItselfAway, TestADialGoesOnWithoutItsOnlyCaller,
//     TestAQueuedDialThatNobodyWaitsForIsDropped.
//  3. Nothing is closed politely while it is leased. Drain (newer version, idle,
//     Reset, died): calls finish, long streams get Stale and move, and the drain
//     timeout ends the rest. Cut: leases end at once, with the reason.
//     TestAConnectionIsNotClosedWhileItIsLeased, TestLeasesOnADrainingConnectionEndAtTheTimeout,
//     TestANewerVersionReplacesTheConnectionAndCallsOnTheOldOneFinish,
//     TestCutEndsLeasesAtOnceWithTheReason, TestALeaseReleasedTwiceTouchesNoOtherHold.
//  4. No dial, close, hook, predicate or channel receive under the lock.
//     TestNothingOfTheUsersIsCalledUnderTheLock.
//  5. A slot's state changes in toLocked alone. It leaves the map in leaveLocked
//     alone. Its connection is closed from shutLocked alone, once (one that was dead
//     when it came, by its dial).
//     TestASlotCannotGoBackwards, TestNothingBreaksWhenEverythingHappensAtOnce, and
//     the end of every test in a bubble.
//  6. A failure says when it may end: by time (backoff with full jitter, Retry-After
//     honoured, and then one caller tries; within a second while the server refuses
//     connections, which costs nothing), or by someone, which is never dialed
//     until Reset or a newer definition or credential. Who asks meanwhile is told
//     the reason, since when, and the next attempt.
//     TestBackoffDoublesUpToItsLimit, TestAServerThatRefusesIsTriedAgainWithinASecond,
//     TestJitterIsFull, TestRetryAfterIsHonoured,
//     TestAfterTheBackoffOneCallerTriesAndTheOthersWaitForIt,
//     TestAFailureThatOnlySomeoneCanEndIsNotTriedAgain, TestWhatEndsAFailure,
//     TestAFailureIsToldWithReasonSinceWhenAndNextAttempt.
//  7. Failures are kept for each key, so that one person's bad token shuts nobody
//     else out. The breaker of a server counts dial-stage failures alone; it opens
//     on three from two keys, or from the only one, with no success since; when it
//     is due one caller tries and the others wait for that. A newer definition
//     closes it, and keys whose URL depends on the user are outside of it.
//     TestFailuresOfOnePersonShutNobodyElseOut,
//     TestThreeUnreachedFromTwoKeysKeepEverybodyFromDialing,
//     TestSignInsAndSlowCallsDoNotOpenTheBreaker,
//     TestWhenTheBreakerIsDueOneCallerTriesForAll,
//     TestFailuresOfAURLThatDependsOnTheUserAreThatUsersAlone.
//  8. Dials in flight are bounded for the process, the server and the owner; one
//     that is older than a second no longer counts for its owner, and half of those
//     of the process are for servers that have none, so that servers that hang hold
//     up nobody but those who wait for them. Those that wait
//     are served in turn over servers, and the first first within one. Open
//     connections have budgets, child processes too: over budget the least recently
//     used idle one is closed, and its place is free when it is really closed; where
//     none becomes idle within Limits.Patience, the caller gets Exhausted. So do
//     callers that find the queue full, and the memory of failures is bounded.
//     TestDialsToOneServerAreBounded, TestDialsOfTheProcessAreBounded,
//     TestServersThatHangLeaveAPlaceForOneThatWorks,
//     TestDialsOfOneOwnerAreBoundedUntilTheyAreASecondOld, TestServersTakeTurns,
//     TestOverBudgetTheLeastRecentlyUsedIdleConnectionGoes,
//     TestWithoutAnIdleOneTheCallerIsToldWhoseBudgetIsUsedUp,
//     TestAPlaceIsFreeWhenTheOldConnectionIsReallyClosed,
//     TestAQueueThatIsFullSaysSo, TestTheQueueOfOneServerLeavesRoomForOthers,
//     TestOnlySoManyFailuresAreRemembered.
//  9. Every goroutine and every timer has ended when Close returns nil.
//     TestCloseWaitsForLeasesAndGoroutines, TestNothingBreaksWhenEverythingHappensAtOnce.
//
// A connection that is dead is never handed out
// (TestADeadConnectionIsNeverHandedOut), and a warm Acquire allocates nothing
// (TestAWarmAcquireAllocatesNothing).
package pool
