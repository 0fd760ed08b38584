package connections

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/pool"
)

// personal makes a definition one that each person fills in.
func personal(s *jackfield.Server) {
	s.Fill.Headers = map[string]jackfield.Template{"Authorization": {{From: jackfield.FromVar, Name: "KEY"}}}
}

// missing is what a dial ends with for want of a variable.
func missing() error {
	f := &jackfield.Failure{Kind: jackfield.FailureAuth, Message: `server "docs" needs your API key: enter it with jackfield var set docs KEY`}
	return &jackfield.Error{Code: jackfield.AuthRequired, Message: f.Message, Err: f}
}

// versioned is a board whose credentials have versions.
func versioned(t *testing.T, f func(bt *boardTest, set func(jackfield.Scope, uint64))) {
	t.Helper()
	versions := map[jackfield.Scope]uint64{}
	o := Options[*line]{Credential: func(_ jackfield.ServerID, owner jackfield.Scope) uint64 { return versions[owner] }}
	boardWith(t, o, func(bt *boardTest) {
		f(bt, func(owner jackfield.Scope, v uint64) { versions[owner] = v })
	})
}

func TestWithoutCredentialsNothingIsDialedTwice(t *testing.T) {
	for name, shape := range map[string]exchange.Shape{"modern": modern, "stateful": stateful, "stdio": stdio} {
		t.Run(name, func(t *testing.T) {
			versioned(t, func(bt *boardTest, set func(jackfield.Scope, uint64)) {
				docs := bt.add("docs", shape, personal)
				docs.known, docs.err = &shape, missing()
				tries := func(owner jackfield.Scope) {
					for i := range 5 {
						for _, w := range []Want{bt.want("docs", owner, fmt.Sprint(i), ""), bt.want("docs", owner, "", `{"roots":{}}`)} {
							_, err := bt.b.Acquire(bt.Context(), w)
							bt.wantError(err, jackfield.AuthRequired, "needs your API key: enter it with jackfield var set docs KEY")
						}
						_, err := bt.b.Listing(bt.Context(), docs.def, owner)
						bt.wantError(err, jackfield.AuthRequired, "needs your API key")
						time.Sleep(time.Hour)
					}
				}
				tries(ann)
				bt.wantDials(1)
				tries(bob) // who is not kept out by what ann lacks
				bt.wantDials(2)
				set(ann, 1)
				tries(ann)
				tries(bob)
				bt.wantDials(3)
				bt.b.Reset(func(k pool.Key) bool { return k.Scope == bob })
				tries(ann)
				tries(bob)
				bt.wantDials(4)
				docs.def.Version, docs.err = 2, nil
				bt.acquire(bt.want("docs", ann, "", "")).Release()
				docs.err = missing()
				tries(bob)
				bt.wantDials(6)
			})
		})
	}
}

func TestACallThatServesNobodyElseIsNotDialedWithoutCredentialsEither(t *testing.T) {
	versioned(t, func(bt *boardTest, _ func(jackfield.Scope, uint64)) {
		docs := bt.add("docs", modern, personal, sharing(jackfield.SharingCall))
		docs.known, docs.err = &modern, missing()
		for range 5 {
			_, err := bt.b.Acquire(bt.Context(), bt.want("docs", ann, "", ""))
			bt.wantError(err, jackfield.AuthRequired)
		}
		bt.wantDials(1)
	})
}

func TestWhatIsShutIsForgottenWhenThereIsTooMuch(t *testing.T) {
	board(t, func(bt *boardTest) {
		f := &jackfield.Failure{Kind: jackfield.FailureAuth, Since: time.Now()}
		err := &jackfield.Error{Code: jackfield.AuthRequired, Err: f}
		for i := range shutMax + 100 {
			bt.b.refuse(&call{server: "docs", wide: jackfield.User(fmt.Sprint(i))}, err)
		}
		if n := len(bt.b.shut); n != shutMax {
			t.Errorf("%d are remembered", n)
		}
	})
}

func TestAResetIsNotUndoneByWhoAskedBefore(t *testing.T) {
	board(t, func(bt *boardTest) {
		c := call{server: "docs", wide: ann}
		if err := bt.b.refused(&c); err != nil {
			t.Fatal(err)
		}
		bt.b.Reset(func(pool.Key) bool { return true })
		bt.b.refuse(&c, &jackfield.Error{Code: jackfield.AuthRequired, Err: &jackfield.Failure{Since: time.Now()}})
		if err := bt.b.refused(&c); err != nil {
			t.Errorf("refused after the reset: %v", err)
		}
	})
}

func TestNobodyAtAPersonsOwnAddressShutsNobodyElseOut(t *testing.T) {
	board(t, func(bt *boardTest) {
		docs := bt.add("docs", modern, func(s *jackfield.Server) {
			s.Fill.URL = jackfield.Template{{Text: "https://docs.test/"}, {From: jackfield.FromUser, Name: "id"}}
		})
		docs.known, docs.err = &modern, fmt.Errorf("connection refused")
		for i := range 5 {
			_, err := bt.b.Acquire(bt.Context(), bt.want("docs", jackfield.User(fmt.Sprint(i)), "", ""))
			bt.wantError(err, jackfield.Unavailable, "refused")
		}
		bt.wantDials(5) // three would have kept all others away
		docs.err = nil
		bt.acquire(bt.want("docs", ann, "", "")).Release()
	})
}

func TestANameIsWhatItsScopeMakesOfIt(t *testing.T) {
	var bt *boardTest
	sees := func(owner jackfield.Scope) []jackfield.Server {
		all := []jackfield.Server{bt.servers["app"].def}
		if owner == ann {
			all = []jackfield.Server{bt.servers["ann"].def, bt.servers["other"].def}
		}
		return all
	}
	o := Options[*line]{Find: func(owner jackfield.Scope, name string) (jackfield.Server, error) {
		for _, s := range sees(owner) {
			if s.Name == name {
				return s, nil
			}
		}
		return jackfield.Server{}, jackfield.Errorf(jackfield.NotFound, "there is no server named %q for %v", name, owner)
	}}
	boardWith(t, o, func(b *boardTest) {
		bt = b
		called := func(name string) func(*jackfield.Server) {
			return func(s *jackfield.Server) { s.Name = name }
		}
		bt.add("app", modern, called("docs"))
		bt.add("ann", modern, called("docs"))
		bt.add("other", modern, called("more"))
		bt.b.o.All = sees
		bt.b.o.Dial = func(_ context.Context, s jackfield.Server, k pool.Key, caps string) (*line, error) {
			l := &line{server: s, key: k, caps: caps, shape: modern}
			bt.lines = append(bt.lines, l)
			return l, nil
		}
		bt.b.o.Shape = nil
		for owner, id := range map[jackfield.Scope]jackfield.ServerID{ann: "ann", bob: "app"} {
			l := bt.get(bt.b.Repository(owner), "docs")
			if got := l.Key().Server; got != id {
				t.Errorf("docs is %s for %v", got, owner)
			}
			l.Release()
		}
		if access := bt.b.Repository(bob).Has("more"); access.Allowed || access.Reason != `there is no server named "more" for user:bob` {
			t.Errorf("%+v", access)
		}
		out := bt.user().All(bt.Context())
		if len(out) != 2 || out["docs"].Lease.Key().Server != "ann" || out["more"].Err != nil {
			t.Errorf("%+v", out)
		}
		out.Release()
		bt.wantLoaded(bt.user(), "docs", "more") // not the app's, which another definition hides
		bt.wantLoaded(bt.b.Repository(bob), "docs")
		bt.wantError(bt.b.Repository(bob).Disconnect(bt.Context(), "more"), jackfield.NotFound)
	})
}
