package policy

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
)

func per(calls int, d time.Duration) jackfield.Rate { return jackfield.Rate{Calls: calls, Per: d} }

func who(subject string) jackfield.Principal { return jackfield.Principal{Subject: subject} }

func server(id string, everybody, person jackfield.Rate) *jackfield.Server {
	return &jackfield.Server{ID: jackfield.ServerID(id), Name: id, Usage: jackfield.Usage{Rate: everybody, PersonRate: person}}
}

// admitted is how many calls pass until one does not, and why not.
func admitted(r *Rates, p jackfield.Principal, s *jackfield.Server) (int, error) {
	for n := range 100_000 {
		if err := r.Admit(p, s); err != nil {
			return n, err
		}
	}
	return -1, nil
}

func wantAdmitted(t *testing.T, r *Rates, p jackfield.Principal, s *jackfield.Server, want int) {
	t.Helper()
	_ = refusal(t, r, p, s, want)
}

// refusal is why no more calls pass than are wanted.
func refusal(t *testing.T, r *Rates, p jackfield.Principal, s *jackfield.Server, want int) error {
	t.Helper()
	got, err := admitted(r, p, s)
	if got != want {
		t.Errorf("%s at %s: %d calls were admitted, want %d", p.Subject, s.Name, got, want)
	}
	return err
}

func TestCallsAreAdmittedUpToTheRateAndAgainWhenTheErrorSaysSo(t *testing.T) {
	none := jackfield.Rate{}
	for _, c := range []struct {
		limit string
		all   jackfield.Rate
		s     *jackfield.Server
	}{
		{"limits.rate", per(60, time.Minute), server("s", none, none)},
		{"rate", none, server("s", per(60, time.Minute), none)},
		{"ratePerPerson", none, server("s", none, per(60, time.Minute))},
	} {
		t.Run(c.limit, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewRates(c.all, 0)
				err := refusal(t, r, who("ann"), c.s, 60)
				f := jackfield.FailureOf(err)
				if jackfield.CodeOf(err) != jackfield.Exhausted || f == nil || f.Kind != jackfield.FailureBudget || f.Limit != c.limit {
					t.Fatalf("got %#v in %v", f, err)
				}
				if wait := time.Until(f.Next); wait < time.Second || wait > time.Second+time.Microsecond {
					t.Errorf("the next call is said to be possible in %v", wait)
				}
				if text := err.Error(); !strings.Contains(text, "60 calls in 1m") || !strings.Contains(text, "raise "+c.limit) || !strings.Contains(text, "try again in") {
					t.Error(text)
				}
				time.Sleep(time.Until(f.Next) - 2*time.Nanosecond)
				wantAdmitted(t, r, who("ann"), c.s, 0)
				time.Sleep(2 * time.Nanosecond)
				wantAdmitted(t, r, who("ann"), c.s, 1)
				time.Sleep(time.Minute)
				wantAdmitted(t, r, who("ann"), c.s, 60)
				time.Sleep(time.Hour) // no more than one burst is saved
				wantAdmitted(t, r, who("ann"), c.s, 60)
			})
		})
	}
}

func TestTheNextCallThatIsPromisedIsAdmittedAtAnyRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []jackfield.Rate{per(1, 24*time.Hour), per(3, time.Second), per(7, time.Hour), per(50_000, time.Second), per(999, 61*time.Second)} {
			r, s := NewRates(jackfield.Rate{}, 0), server("s", rate, jackfield.Rate{})
			err := refusal(t, r, who("ann"), s, rate.Calls)
			for range 50 {
				if err == nil {
					t.Fatalf("%+v: admitted too many", rate)
				}
				time.Sleep(time.Until(jackfield.FailureOf(err).Next))
				if again := r.Admit(who("ann"), s); again != nil {
					t.Fatalf("%+v: %v", rate, again)
				}
				err = r.Admit(who("ann"), s)
			}
		}
	})
}

func TestEachPrincipalAndServerHasRatesOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(per(10, time.Minute), 0)
		a, b := server("a", per(25, time.Minute), per(4, time.Minute)), server("b", jackfield.Rate{}, jackfield.Rate{})
		wantAdmitted(t, r, who("ann"), a, 4)
		wantAdmitted(t, r, who("ann"), b, 6) // ten over all servers
		key := jackfield.Principal{Subject: "ann", Credential: "another"}
		wantAdmitted(t, r, key, b, 0) // a second key is nobody else
		for i := range 5 {
			wantAdmitted(t, r, who(fmt.Sprint("u", i)), a, 4)
		}
		if f := jackfield.FailureOf(refusal(t, r, who("eve"), a, 1)); f.Limit != "rate" {
			t.Errorf("the server's own rate is used up, and %s is named", f.Limit)
		}
	})
}

func TestACallThatIsRefusedByOneRateIsCountedByNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(per(10, time.Hour), 0)
		closed, open := server("closed", per(1, time.Hour), jackfield.Rate{}), server("open", jackfield.Rate{}, jackfield.Rate{})
		wantAdmitted(t, r, who("ann"), closed, 1)
		for range 100 {
			wantAdmitted(t, r, who("ann"), closed, 0)
		}
		wantAdmitted(t, r, who("ann"), open, 9)
		// And the other way round: the first rate refuses, the second keeps what it has.
		shared := server("shared", per(5, time.Hour), jackfield.Rate{})
		wantAdmitted(t, r, who("ann"), shared, 0)
		wantAdmitted(t, r, who("bob"), shared, 5)
	})
}

func TestTheErrorNamesTheRateThatLastsLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := NewRates(per(2, time.Second), 0), server("s", per(2, time.Minute), per(2, time.Hour))
		f := jackfield.FailureOf(refusal(t, r, who("ann"), s, 2))
		if wait := time.Until(f.Next); f.Limit != "ratePerPerson" || wait < 30*time.Minute || wait > 31*time.Minute {
			t.Errorf("got %s, in %v", f.Limit, wait)
		}
	})
}

func TestAChangedRateTakesEffectAndGivesNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(jackfield.Rate{}, 0)
		wantAdmitted(t, r, who("ann"), server("s", per(10, time.Hour), jackfield.Rate{}), 10)
		more := server("s", per(100, time.Minute), jackfield.Rate{})
		wantAdmitted(t, r, who("ann"), more, 0)
		time.Sleep(6 * time.Second)
		wantAdmitted(t, r, who("ann"), more, 10)
		time.Sleep(time.Hour)
		wantAdmitted(t, r, who("ann"), server("s", per(3, time.Minute), jackfield.Rate{}), 3)
		wantAdmitted(t, r, who("ann"), server("s", jackfield.Rate{}, jackfield.Rate{}), -1)
	})
}

func TestBucketsAreBoundedAndTheFullOnesGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 100
		r, s := NewRates(jackfield.Rate{}, most), server("s", jackfield.Rate{}, per(10, time.Minute))
		wantAdmitted(t, r, who("abuser"), s, 10)
		time.Sleep(time.Second)
		for i := range 50 * most { // each of them comes once, and is full again soon
			time.Sleep(10 * time.Second / most)
			if err := r.Admit(who(fmt.Sprint("u", i)), s); err != nil {
				t.Fatal(err)
			}
			if n := len(r.buckets); n > most || n != len(r.byFull) {
				t.Fatalf("%d buckets, of which %d are in order", n, len(r.byFull))
			}
			if i == 4*most { // 41 s after
				wantAdmitted(t, r, who("abuser"), s, 6)
			}
		}
	})
}

func TestPushingOutAnEmptyBucketGivesNoNewBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10
		r, s := NewRates(jackfield.Rate{}, most), server("s", jackfield.Rate{}, per(100, time.Minute))
		for i := range most {
			wantAdmitted(t, r, who(fmt.Sprint("u", i)), s, 100)
		}
		total := 0
		for i := range 1000 {
			n, _ := admitted(r, who(fmt.Sprint("v", i%(2*most))), s)
			total += n
		}
		if total > 1000 { // and not 100 for each time
			t.Errorf("%d calls were admitted by pushing others out", total)
		}
	})
}

func TestTheBucketsOfACallDoNotPushOneAnotherOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRates(per(2, time.Hour), 1) // three, as few as a call needs
		s := server("s", per(1000, time.Second), per(2, time.Hour))
		for i := range 100 {
			if n, _ := admitted(r, who(fmt.Sprint("u", i)), s); n < 1 || n > 2 {
				t.Errorf("call %d: %d were admitted", i, n)
			}
			if len(r.buckets) != 3 || len(r.byFull) != 3 {
				t.Fatalf("%d buckets, of which %d are in order", len(r.buckets), len(r.byFull))
			}
			for at, b := range r.byFull {
				if b.index != at || r.buckets[b.of] != b || b.subject != "" && b.subject != fmt.Sprint("u", i) {
					t.Fatalf("call %d: the bucket of %+v is lost or left", i, b.of)
				}
			}
		}
	})
}

func TestManyAtOnceGetNoMoreThanTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := NewRates(per(100, time.Hour), 0), server("s", per(150, time.Hour), jackfield.Rate{})
		var mu sync.Mutex
		passed := map[string]int{}
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				p := who([]string{"ann", "bob"}[i%2])
				for range 100 {
					if r.Admit(p, s) == nil {
						mu.Lock()
						passed[p.Subject]++
						mu.Unlock()
					}
				}
			})
		}
		all.Wait()
		if passed["ann"]+passed["bob"] != 150 || passed["ann"] > 100 || passed["bob"] > 100 {
			t.Error(passed)
		}
	})
}

func TestWithoutRatesNothingIsKept(t *testing.T) {
	r, s := NewRates(jackfield.Rate{Calls: 5}, 0), server("s", jackfield.Rate{Calls: -1, Per: time.Second}, jackfield.Rate{})
	wantAdmitted(t, r, who("ann"), s, -1)
	if len(r.buckets) != 0 {
		t.Errorf("%d buckets", len(r.buckets))
	}
}

func TestAdmittingAgainAllocatesNothing(t *testing.T) {
	r, s := NewRates(per(1e9, time.Second), 0), server("s", per(1e9, time.Second), per(1e9, time.Second))
	p := who("ann")
	if n := testing.AllocsPerRun(100, func() { _ = r.Admit(p, s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdmitWarm(b *testing.B) {
	rate := per(1e9, time.Second)
	r, s := NewRates(rate, 0), server("s", rate, rate)
	people := make([]jackfield.Principal, 10_000)
	for i := range people {
		people[i] = who(fmt.Sprint("user", i))
		_ = r.Admit(people[i], s)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := r.Admit(people[i%len(people)], s); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkAdmitWithoutRates(b *testing.B) {
	r, s, p := NewRates(jackfield.Rate{}, 0), server("s", jackfield.Rate{}, jackfield.Rate{}), who("ann")
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Admit(p, s)
	}
}
