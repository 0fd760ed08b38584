package pool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
)

var classified = Options[*conn]{Classify: classify}

func TestAFailureIsToldWithReasonSinceWhenAndNextAttempt(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errRefused)
		time.Sleep(2 * time.Second)
		pt.fail("docs/ann", 1, errRefused)
		time.Sleep(500 * time.Millisecond)
		err := pt.acquire("docs/ann", 1).wantError()
		pt.wantCode(err, jackfield.Unavailable)
		want := `server "docs" cannot be used (connect): connection refused ` +
			`(other; failed 2 times since 2000-01-01T00:00:00Z; the next attempt is at 2000-01-01T00:00:04Z, in 1.5s)`
		if err.Error() != want {
			t.Errorf("error\n%s, want\n%s", err, want)
		}
		if !errors.Is(err, errRefused) {
			t.Error("the cause is lost")
		}
		st := pt.wantState("docs/ann", Failed, "connect")
		if st.Attempts != 2 || !strings.HasPrefix(st.Reason, `server "docs" cannot be used (connect): connection refused (other; failed 2 times`) || st.Next.Sub(st.Since) != 4*time.Second {
			t.Errorf("status %+v", st)
		}
		pt.wantNoDial()
	})
}

func TestAllWaitersOfAFailedDialGetItsReason(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		a, b := pt.acquire("docs/ann", 1), pt.acquire("docs/ann", 1)
		pt.wantDial("docs/ann").finish(errRefused)
		a.wantError("connection refused", "the next attempt is at", "in 1s")
		b.wantError("connection refused", "the next attempt is at", "in 1s")
	})
}

func TestTheCodeAndWordsOfADialsOwnErrorAreKept(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		pt.wantDial("docs/ann").finish(jackfield.Errorf(jackfield.AuthRequired, "sign in to docs at https://docs.example"))
		err := a.wantError()
		pt.wantCode(err, jackfield.AuthRequired)
		want := "sign in to docs at https://docs.example (other; failed since 2000-01-01T00:00:00Z; the next attempt is at 2000-01-01T00:00:01Z, in 1s)"
		if err.Error() != want {
			t.Errorf("error %q", err)
		}
	})
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		for i, want := range []int{1, 2, 4, 8, 16, 30, 30, 30} {
			pt.fail("docs/ann", 1, errRefused)
			st := pt.status("docs/ann")
			if wait := time.Until(st.Next); wait != time.Duration(want)*time.Second || st.Attempts != i+1 {
				t.Errorf("after %d failures the next attempt is in %v, want %d s", st.Attempts, wait, want)
			}
			time.Sleep(time.Until(st.Next) - time.Millisecond)
			pt.acquire("docs/ann", 1).wantError("connection refused")
			pt.wantNoDial()
			time.Sleep(time.Millisecond)
		}
	})
}

// Nobody listens: that costs nothing to find out, and the server is back at any
// moment.
func TestAServerThatRefusesIsTriedAgainWithinASecond(t *testing.T) {
	refused := failure(Failure{Temporary: true, DialStage: true}, "connect")
	refused.Kind = jackfield.FailureRefused
	pooled(t, classified, func(pt *poolTest) {
		for i := range 20 {
			pt.fail("docs/ann", 1, &dialError{refused, "refused"})
			st := pt.wantState("docs/ann", Failed, "connect")
			if wait := time.Until(st.Next); wait != 750*time.Millisecond || st.Failure.Attempts != i+1 || st.Failure.Kind != jackfield.FailureRefused {
				t.Errorf("after %d failures the next attempt is in %v", st.Attempts, wait)
			}
			time.Sleep(time.Until(st.Next))
		}
		l, _ := pt.open("docs/ann", 1)
		l.Release()
	})
}

func TestWhoeverIsNotThereIsLookedForOften(t *testing.T) {
	after := func(kind jackfield.FailureKind, status int, wait time.Duration) *Failure {
		return &Failure{Failure: jackfield.Failure{Kind: kind, Status: status, Attempts: 20}, Temporary: true, RetryAfter: wait}
	}
	pooled(t, classified, func(pt *poolTest) {
		for name, c := range map[string]struct {
			f    *Failure
			wait time.Duration
		}{
			"refused":                         {after(jackfield.FailureRefused, 0, 0), 750 * time.Millisecond},
			"no address":                      {after(jackfield.FailureDNS, 0, 0), 750 * time.Millisecond},
			"no way there":                    {after(jackfield.FailureUnreachable, 0, 0), 750 * time.Millisecond},
			"a proxy with nobody behind it":   {after(jackfield.FailureHTTP, 502, 0), 750 * time.Millisecond},
			"out of service":                  {after(jackfield.FailureHTTP, 503, 0), 750 * time.Millisecond},
			"out of service for a known time": {after(jackfield.FailureHTTP, 503, time.Minute), time.Minute},
			"an error of the server's own":    {after(jackfield.FailureHTTP, 500, 0), 30 * time.Second},
			"no answer in time":               {after(jackfield.FailureTimeout, 0, 0), 30 * time.Second},
			"no sense":                        {after(jackfield.FailureProtocol, 0, 0), 30 * time.Second},
		} {
			if got := pt.p.backoff(c.f); got != c.wait {
				t.Errorf("%s: %v, want %v", name, got, c.wait)
			}
		}
	})
}

func TestTheWordsOfAClassifiedFailureAreKept(t *testing.T) {
	f := Failure{Failure: jackfield.Failure{Kind: jackfield.FailureHTTP, Stage: "http", Status: 503, Message: "docs is down"}, Temporary: true}
	pooled(t, classified, func(pt *poolTest) {
		a := pt.acquire("docs/ann", 1)
		pt.wantDial("docs/ann").finish(&dialError{f, "something else"})
		err := a.wantError("docs is down (http 503; failed since 2000-01-01T00:00:00Z; the next attempt is at")
		got := jackfield.FailureOf(err)
		if got == nil || got.Kind != jackfield.FailureHTTP || got.Status != 503 || got.Attempts != 1 || got.Next.Sub(got.Since) != 750*time.Millisecond {
			t.Errorf("failure %+v", got)
		}
		if st := pt.status("docs/ann"); st.Reason != err.Error() || st.Failure != got {
			t.Errorf("status %+v", st)
		}
	})
}

func TestASuccessEndsTheRowOfFailures(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		for range 2 {
			pt.fail("docs/ann", 1, errRefused)
			time.Sleep(2 * time.Second)
		}
		l, _ := pt.open("docs/ann", 1)
		l.Retire()
		pt.fail("docs/ann", 1, errRefused)
		if st := pt.status("docs/ann"); st.Attempts != 1 || time.Until(st.Next) != time.Second {
			t.Errorf("status %+v", st)
		}
	})
}

func TestJitterIsFull(t *testing.T) {
	var low, high int
	for range 1000 {
		d := fullJitter(time.Second)
		if d < 0 || d > time.Second {
			t.Fatalf("jitter %v", d)
		}
		if d < 250*time.Millisecond {
			low++
		}
		if d > 750*time.Millisecond {
			high++
		}
	}
	if low < 150 || high < 150 {
		t.Errorf("of 1000 waits up to 1 s, %d are below 250 ms and %d above 750 ms", low, high)
	}
	if p := New(Options[*conn]{Dial: (&poolTest{}).dial}); p.jitter == nil {
		t.Error("a pool has no jitter")
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.fail("docs/ann", 1, retryAfter(20*time.Second))
		if wait := time.Until(pt.status("docs/ann").Next); wait != 20*time.Second {
			t.Errorf("the next attempt is in %v", wait)
		}
		pt.fail("mail/ann", 1, retryAfter(time.Millisecond)) // shorter than the backoff
		if wait := time.Until(pt.status("mail/ann").Next); wait != time.Second {
			t.Errorf("the next attempt is in %v", wait)
		}
		pt.fail("todo/ann", 1, retryAfter(1000*time.Hour))
		if wait := time.Until(pt.status("todo/ann").Next); wait != time.Hour {
			t.Errorf("the next attempt is in %v", wait)
		}
	})
}

func TestAfterTheBackoffOneCallerTriesAndTheOthersWaitForIt(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errRefused)
		time.Sleep(time.Second)
		var asks []*ask
		for range 20 {
			asks = append(asks, pt.acquire("docs/ann", 1))
		}
		d := pt.wantDial("docs/ann")
		pt.wantNoDial()
		d.finish(errRefused)
		for _, a := range asks {
			a.wantError("failed 2 times")
		}
		pt.wantNoDial()
	})
}

func TestAFailureThatOnlySomeoneCanEndIsNotTriedAgain(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errSignIn)
		for range 30 {
			time.Sleep(24 * time.Hour)
			pt.acquire("docs/ann", 1).wantError("a sign-in is needed", "not tried again until someone signs in")
		}
		pt.wantNoDial()
		if st := pt.wantState("docs/ann", Failed, "auth"); !st.Next.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

func TestWhatEndsAFailure(t *testing.T) {
	for _, failure := range []error{errSignIn, retryAfter(time.Hour)} {
		for name, end := range map[string]func(pt *poolTest) jackfield.Versions{
			"Reset": func(pt *poolTest) jackfield.Versions {
				pt.p.Reset(is("docs/ann"))
				return definition(1)
			},
			"Cut": func(pt *poolTest) jackfield.Versions {
				pt.p.Cut(is("docs/ann"), errors.New("removed"))
				return definition(1)
			},
			"a newer definition": func(*poolTest) jackfield.Versions { return definition(2) },
			"a newer sign-in":    func(*poolTest) jackfield.Versions { return jackfield.Versions{Definition: 1, Credential: 1} },
		} {
			t.Run(fmt.Sprintf("%s ends %v", name, failure), func(t *testing.T) {
				pooled(t, classified, func(pt *poolTest) {
					pt.fail("docs/ann", 1, failure)
					v := end(pt)
					a := pt.acquireVersions("docs/ann", v)
					d := pt.wantDial("docs/ann")
					d.finish(nil)
					a.wantLease(d).Release()
				})
			})
		}
	}
}

func TestWhatDoesNotEndAFailure(t *testing.T) {
	for name, try := range map[string]func(pt *poolTest){
		"Drain":               func(pt *poolTest) { pt.p.Drain(all) },
		"Reset of another":    func(pt *poolTest) { pt.p.Reset(is("docs/bob")) },
		"an older definition": func(*poolTest) {},
	} {
		t.Run(name, func(t *testing.T) {
			pooled(t, classified, func(pt *poolTest) {
				pt.fail("docs/ann", 5, errSignIn)
				try(pt)
				pt.acquire("docs/ann", 4).wantError("a sign-in is needed")
				pt.wantNoDial()
			})
		})
	}
}

// A dial that nobody waits for any more, or that is drained, has proven nothing.
func TestAnAttemptThatWasGivenUpLeavesTheFailuresAsTheyWere(t *testing.T) {
	o := Options[*conn]{Classify: classify, Limits: Limits{DialsServer: 1}}
	for name, giveUp := range map[string]func(*poolTest, *ask){
		"its caller left": func(_ *poolTest, a *ask) { a.leave() },
		"it was drained":  func(pt *poolTest, _ *ask) { pt.p.Drain(is("docs/ann")) },
	} {
		t.Run(name, func(t *testing.T) {
			pooled(t, o, func(pt *poolTest) {
				for range 3 {
					pt.fail("docs/ann", 1, errSlow)
					time.Sleep(4 * time.Second)
				}
				blocker := pt.acquire("docs/bob", 1)
				d := pt.wantDial("docs/bob")
				a := pt.acquire("docs/ann", 1)
				pt.wantState("docs/ann", Connecting, "queued")
				giveUp(pt, a)
				a.wantError()
				if st := pt.wantState("docs/ann", Failed, "initialize"); st.Attempts != 3 {
					t.Errorf("status %+v", st)
				}
				d.finish(nil)
				blocker.wantLease(d).Release()
				pt.fail("docs/ann", 1, errSlow) // it was due
				if st := pt.status("docs/ann"); st.Attempts != 4 {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
	t.Run("it was drained while it was dialed", func(t *testing.T) {
		pooled(t, classified, func(pt *poolTest) {
			pt.fail("docs/ann", 1, errRefused)
			time.Sleep(time.Second)
			a := pt.acquire("docs/ann", 1)
			pt.wantDial("docs/ann")
			pt.p.Drain(all)
			a.wantError()
			if st := pt.wantState("docs/ann", Failed, "connect"); st.Attempts != 1 {
				t.Errorf("status %+v", st)
			}
		})
	})
}

func TestAnAttemptThatWasReplacedLeavesNoFailureBehind(t *testing.T) {
	for name, version := range map[string]uint64{"by a newer version": 2, "by Reset": 1} {
		t.Run(name, func(t *testing.T) {
			pooled(t, classified, func(pt *poolTest) {
				pt.fail("docs/ann", 1, errRefused)
				time.Sleep(time.Second)
				a := pt.acquire("docs/ann", 1)
				pt.wantDial("docs/ann")
				if version == 1 {
					pt.p.Reset(all)
				}
				b := pt.acquire("docs/ann", version)
				d := pt.wantDial("docs/ann")
				d.finish(nil)
				a.wantLease(d).Release()
				b.wantLease(d).Release()
				if st := pt.wantState("docs/ann", Ready, ""); st.Attempts != 0 {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

func TestFailuresOfOnePersonShutNobodyElseOut(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		for _, who := range []string{"docs/ann", "docs/ben", "docs/cat", "docs/dan"} {
			pt.fail(who, 1, errSignIn)
		}
		for range 10 { // slow calls, too, are nobody else's affair
			pt.fail("docs/eve", 1, errSlow)
			time.Sleep(30 * time.Second)
		}
		l, _ := pt.open("docs/bob", 1)
		l.Release()
	})
}

func TestOldFailuresAreForgotten(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		pt.fail("docs/ann", 1, errRefused)
		pt.fail("mail/ann", 1, errSignIn)
		time.Sleep(10*time.Minute + 2*time.Second)
		pt.wantNothing("docs/ann")
		pt.wantState("mail/ann", Failed, "auth") // only someone ends this
	})
}

func TestOnlySoManyFailuresAreRemembered(t *testing.T) {
	o := Options[*conn]{Classify: classify, Limits: Limits{Failed: 3}}
	pooled(t, o, func(pt *poolTest) {
		for _, k := range []string{"a/1", "b/1", "c/1", "d/1", "e/1"} {
			pt.fail(k, 1, errSignIn)
		}
		var known []string
		for k := range pt.p.Status() {
			known = append(known, string(k.Server))
		}
		slices.Sort(known)
		if !slices.Equal(known, []string{"c", "d", "e"}) {
			t.Errorf("remembered: %v", known)
		}
	})
}

func TestLastGoodSurvivesFailures(t *testing.T) {
	pooled(t, classified, func(pt *poolTest) {
		l, _ := pt.open("docs/ann", 1)
		opened := time.Now()
		l.Release()
		time.Sleep(time.Minute)
		pt.fail("docs/ann", 2, errRefused)
		time.Sleep(time.Second)
		pt.fail("docs/ann", 2, errRefused)
		if st := pt.status("docs/ann"); !st.LastGood.Equal(opened) {
			t.Errorf("last good %v, want %v", st.LastGood, opened)
		}
	})
}
