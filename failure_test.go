package jackfield_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
)

func TestEveryKindOfFailureHasAWordOfItsOwn(t *testing.T) {
	seen := map[jackfield.FailureKind]bool{}
	for _, k := range jackfield.FailureKinds() {
		if k == "" || seen[k] || strings.ToLower(string(k)) != string(k) {
			t.Errorf("kind %q", k)
		}
		seen[k] = true
	}
	for _, c := range []struct {
		f    jackfield.Failure
		want string
	}{
		{jackfield.Failure{}, "other"},
		{jackfield.Failure{Kind: jackfield.FailureRefused, Stage: "connect"}, "refused"},
		{jackfield.Failure{Kind: jackfield.FailureTimeout, Stage: "tls"}, "timeout at tls"},
		{jackfield.Failure{Kind: jackfield.FailureTimeout}, "timeout"},
		{jackfield.Failure{Kind: jackfield.FailureHTTP, Status: 503}, "http 503"},
	} {
		if got := c.f.Label(); got != c.want {
			t.Errorf("%+v is labelled %q, want %q", c.f, got, c.want)
		}
	}
}

func TestAFailureSaysSinceWhenAndWhenNext(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC)
	f := jackfield.Failure{Kind: jackfield.FailureRefused, Message: `server "docs": cannot connect`}
	check := func(want string) {
		t.Helper()
		if got := f.At(now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	check(`server "docs": cannot connect`)
	f.Since, f.Attempts = now.Add(-10*time.Second), 1
	check(`server "docs": cannot connect (refused; failed since 2000-01-01T00:00:00Z; it is not tried again until someone signs in, enters what is missing, changes its definition or resets it)`)
	f.Attempts, f.Next = 3, now.Add(1500*time.Millisecond)
	check(`server "docs": cannot connect (refused; failed 3 times since 2000-01-01T00:00:00Z; the next attempt is at 2000-01-01T00:00:11Z, in 1.5s)`)
	f.Next = now
	check(`server "docs": cannot connect (refused; failed 3 times since 2000-01-01T00:00:00Z; the next attempt is due now)`)
}

func TestWhatAServerSaysCannotDisturbATerminal(t *testing.T) {
	for _, text := range []string{
		"a\x1b[2Jb\r\nc\x00d\u202eefg\u2066\u2028h\u0085", "\xff\xfe", strings.Repeat("ü", 1<<16), strings.Repeat("€\n", 1<<14),
	} {
		got := (&jackfield.Failure{Message: text}).At(time.Now())
		if len(got) > 5000 || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsAny(got, "\u202e\u2066\u2028") {
			t.Errorf("%.40q became %.80q, %d bytes", text, got, len(got))
		}
	}
}

func TestAFailureStandsInTheChainOfAnError(t *testing.T) {
	cause := errors.New("connection refused")
	f := &jackfield.Failure{Kind: jackfield.FailureRefused, Message: "no", Err: cause}
	err := fmt.Errorf("while listing: %w", &jackfield.Error{Code: jackfield.Unavailable, Message: "no", Err: f})
	if jackfield.FailureOf(err) != f || !errors.Is(err, cause) || jackfield.CodeOf(err) != jackfield.Unavailable {
		t.Error(err)
	}
	if jackfield.FailureOf(cause) != nil || jackfield.FailureOf(nil) != nil {
		t.Error("a failure out of nothing")
	}
}

func TestAFailureAsJSONLeavesOutWhatItDoesNotKnow(t *testing.T) {
	f := jackfield.Failure{Kind: jackfield.FailureTLS, Message: "no", Err: errors.New("secret")}
	text, err := json.Marshal(f)
	if err != nil || string(text) != `{"kind":"tls","message":"no"}` {
		t.Errorf("%s, %v", text, err)
	}
}
