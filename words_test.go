package jackfield_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestASecretNeverPrintsItself(t *testing.T) {
	const text = "hunter2-hunter2"
	secret := jackfield.Secret(text)
	env := map[string]jackfield.Secret{"TOKEN": secret}
	asJSON, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("m", slog.Any("secret", secret), slog.Any("env", env), slog.Any("endpoint", jackfield.Endpoint{Headers: env}))
	for _, shown := range []string{
		fmt.Sprint(secret), fmt.Sprintf("%s %v %+v %#v %q %x", secret, secret, secret, secret, secret, secret),
		fmt.Sprintf("%v %+v %#v", env, env, env), fmt.Sprintf("%+v", jackfield.Server{Endpoint: jackfield.Endpoint{Env: env}}),
		string(asJSON), log.String(), jackfield.Errorf(jackfield.Invalid, "%v", secret).Error(),
	} {
		if strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
			t.Errorf("shown: %s", shown)
		}
	}
	if secret.Reveal() != text {
		t.Error("Reveal does not reveal")
	}
}

func TestEveryCodeHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range jackfield.Codes() {
		if seen[c.String()] {
			t.Errorf("%d and another code are both called %s", c, c)
		}
		seen[c.String()] = true
	}
	if len(seen) != 8 || jackfield.Code(200).String() != "internal" {
		t.Error(seen)
	}
}

func TestAnErrorKeepsItsCauseAndItsCode(t *testing.T) {
	cause := errors.New("connection refused")
	err := jackfield.Errorf(jackfield.Unavailable, "github cannot be reached: %w; try again", cause)
	wrapped := fmt.Errorf("while listing: %w", err)
	if !errors.Is(wrapped, cause) || err.Error() != "github cannot be reached: connection refused; try again" {
		t.Error(err)
	}
	for _, c := range []struct {
		err  error
		want jackfield.Code
	}{
		{wrapped, jackfield.Unavailable},
		{jackfield.Errorf(jackfield.Forbidden, "%w", err), jackfield.Forbidden},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), jackfield.Unavailable},
		{context.Canceled, jackfield.Internal},
		{cause, jackfield.Internal},
	} {
		if got := jackfield.CodeOf(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestScopesOfDifferentKindsAreNeverTheSame(t *testing.T) {
	seen := map[jackfield.Scope]bool{}
	for _, s := range []jackfield.Scope{jackfield.App(), jackfield.Team("ann"), jackfield.User("ann"), jackfield.User("")} {
		if seen[s] {
			t.Errorf("%v is taken", s)
		}
		seen[s] = true
	}
	var zero jackfield.Scope
	if zero != jackfield.App() || (jackfield.Principal{Subject: "ann"}).Scope() != jackfield.User("ann") {
		t.Error("the zero scope is not the app's, or a principal's is not the user's")
	}
	if got := fmt.Sprint(jackfield.App(), jackfield.Team("t"), jackfield.User("u")); got != "app team:t user:u" {
		t.Error(got)
	}
}

func TestToolFiltersAllowAndDeny(t *testing.T) {
	for _, c := range []struct {
		allow, deny []string
		tool        string
		want        bool
	}{
		{nil, nil, "any", true},
		{[]string{"read_*"}, nil, "read_file", true},
		{[]string{"read_*"}, nil, "read_", true},
		{[]string{"read_*"}, nil, "read", false},
		{[]string{"read_*"}, nil, "Read_file", false},
		{[]string{"read_*"}, []string{"read_secret"}, "read_secret", false},
		{nil, []string{"*"}, "any", false},
		{[]string{"*"}, []string{"write_*"}, "write_file", false},
		{[]string{"a*c"}, nil, "abc", false}, // only at the end
		{[]string{"a*c"}, nil, "a*c", true},
		{[]string{""}, nil, "", true},
		{[]string{""}, nil, "x", false},
	} {
		if got := (jackfield.ToolFilter{Allow: c.allow, Deny: c.deny}).Allows(c.tool); got != c.want {
			t.Errorf("allow %q, deny %q: %s: %v", c.allow, c.deny, c.tool, got)
		}
	}
}

func TestAVersionIsOlderInEitherCounter(t *testing.T) {
	v := func(d, c uint64) jackfield.Versions { return jackfield.Versions{Definition: d, Credential: c} }
	for _, c := range []struct {
		a, b jackfield.Versions
		want bool
	}{
		{v(1, 1), v(1, 1), false}, {v(1, 1), v(2, 1), true}, {v(1, 1), v(1, 2), true}, {v(2, 1), v(1, 1), false}, {v(2, 1), v(1, 2), true},
	} {
		if c.a.Older(c.b) != c.want {
			t.Errorf("%v older than %v: %v", c.a, c.b, !c.want)
		}
	}
}

func TestARefusalSaysWhy(t *testing.T) {
	if a := jackfield.Refuse("not yours"); a.Allowed || a.Reason != "not yours" {
		t.Error(a)
	}
	if a := jackfield.Allow(); !a.Allowed || a.Reason != "" {
		t.Error(a)
	}
}
