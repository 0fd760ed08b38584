package connections

import (
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/pool"
)

func TestWhatTheAppsScopeOpens(t *testing.T) {
	own := func(s jackfield.Server) bool {
		return s.Usage.RequiresOAuth || s.About.Title == "needs a variable of each person"
	}
	variable := func(s *jackfield.Server) { s.About.Title = "needs a variable of each person" }
	both := func(fs ...func(*jackfield.Server)) func(*jackfield.Server) {
		return func(s *jackfield.Server) {
			for _, f := range fs {
				f(s)
			}
		}
	}
	for name, test := range map[string]struct {
		edit func(*jackfield.Server)
		code jackfield.Code // Internal: it opens
		says string
	}{
		"a plain server":                           {both(), jackfield.Internal, ""},
		"one that requires OAuth":                  {oauth, jackfield.Forbidden, "each person's own sign-in"},
		"one with startup: false":                  {onDemand, jackfield.Forbidden, "startup: false"},
		"one with both":                            {both(oauth, onDemand), jackfield.Forbidden, "each person's own sign-in"},
		"one that needs a variable of each person": {variable, jackfield.Forbidden, "each person's own credentials"},
		"an invalid one":                           {invalid, jackfield.Invalid, "${MISSING} is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			boardWith(t, Options[*line]{OwnCredentials: own}, func(bt *boardTest) {
				bt.add("docs", modern, test.edit)
				access := bt.app().Has("docs")
				l, err := bt.app().Get(bt.Context(), "docs")
				l.Release()
				if test.code == jackfield.Internal {
					if !access.Allowed || err != nil {
						t.Errorf("Has: %+v, Get: %v", access, err)
					}
					return
				}
				bt.wantError(err, test.code, `"docs"`, test.says)
				if access.Allowed || access.Reason != err.Error() {
					t.Errorf("Has: %+v, Get: %v", access, err)
				}
				bt.wantDials(0)
			})
		})
	}
}

func TestWhatAPersonsScopeOpens(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*jackfield.Server)
		want jackfield.Scope // whose connection it is
	}{
		"a plain server":          {sharing(""), jackfield.App()},
		"one that requires OAuth": {oauth, ann},
		"one with startup: false": {onDemand, jackfield.App()},
		"one with both":           {func(s *jackfield.Server) { oauth(s); onDemand(s) }, ann},
	} {
		t.Run(name, func(t *testing.T) {
			board(t, func(bt *boardTest) {
				bt.add("docs", modern, test.edit)
				if access := bt.user().Has("docs"); !access.Allowed {
					t.Errorf("Has: %+v", access)
				}
				l := bt.get(bt.user(), "docs")
				if got := l.Key().Scope; got != test.want {
					t.Errorf("it is a connection of %v, want %v", got, test.want)
				}
				l.Release()
			})
		})
	}
	board(t, func(bt *boardTest) {
		bt.add("docs", modern, invalid)
		if access := bt.user().Has("docs"); access.Allowed {
			t.Error("an invalid definition opens")
		}
	})
}

func TestEachPersonsVariablesOpenTheirOwnConnection(t *testing.T) {
	o := Options[*line]{OwnCredentials: func(jackfield.Server) bool { return true }}
	boardWith(t, o, func(bt *boardTest) {
		bt.add("docs", modern)
		mine, theirs := bt.get(bt.user(), "docs"), bt.get(bt.b.Repository(bob), "docs")
		if mine.Conn() == theirs.Conn() {
			t.Error("two people share one person's credentials")
		}
		release(mine, theirs)
	})
}

// A server that became forbidden while it was open: nobody gets it any more, and the
// registry's change cuts it.
func TestAServerThatBecameForbiddenIsRefusedAndCut(t *testing.T) {
	board(t, func(bt *boardTest) {
		s := bt.add("docs", modern)
		l := bt.get(bt.app(), "docs")
		s.def.Usage.RequiresOAuth, s.def.Version = true, 2
		_, err := bt.app().Get(bt.Context(), "docs")
		bt.wantError(err, jackfield.Forbidden, "sign-in")
		bt.b.Cut(func(k pool.Key) bool { return k.Server == "docs" && k.Scope == jackfield.App() },
			jackfield.Errorf(jackfield.Forbidden, "docs now needs a sign-in"))
		if !bt.lines[0].closed() || bt.lines[0].aborted == nil {
			t.Error("the call on it was not ended")
		}
		l.Release()
	})
}
