package connections

import (
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
)

func TestDecide(t *testing.T) {
	const (
		app, owner, session, call, auto = jackfield.SharingApp, jackfield.SharingOwner, jackfield.SharingSession, jackfield.SharingCall, jackfield.SharingAuto
		unseen                          = "unknown"
	)
	shapes := map[string]exchange.Shape{
		"modern": modern, "modern stdio": modernStdio, "stateful": stateful, "sessionless": sessionless, "stdio": stdio,
	}
	for _, test := range []struct {
		says  jackfield.Sharing
		own   bool
		shape string
		want  jackfield.Sharing
		why   string
	}{
		{"", false, unseen, auto, "decided with the first connection, which shows whether the server keeps state"},
		{auto, true, unseen, auto, "decided with the first connection, which shows whether the server keeps state"},
		{auto, false, "modern", app, "everybody who sees it: the server speaks the stateless revision 2026-07-28"},
		{auto, false, "modern stdio", app, "everybody who sees it: the server speaks the stateless revision 2026-07-28"},
		{auto, false, "sessionless", app, "everybody who sees it: the server hands out no session"},
		{auto, false, "stateful", session, "the server keeps state for each connection"},
		{auto, false, "stdio", session, "the server keeps state for each connection"},
		{auto, true, "modern", owner, "each person uses their own credentials"},
		{auto, true, "sessionless", owner, "each person uses their own credentials"},
		{auto, true, "stateful", session, "the server keeps state for each connection"},
		{app, false, unseen, app, "the definition says so"},
		{app, false, "stateful", app, "the definition says so"}, // an administrator's explicit word
		{app, true, "modern", owner, "the definition says app, but each person uses their own credentials"},
		{app, true, "stateful", owner, "the definition says app, but each person uses their own credentials"},
		{owner, false, "modern", owner, "the definition says so"},
		{owner, true, "stateful", owner, "the definition says so"},
		{session, false, "modern", session, "the definition says so"},
		{call, false, unseen, call, "the definition says so"},
		{call, true, "stdio", call, "the definition says so"},
	} {
		s := jackfield.Server{Usage: jackfield.Usage{Sharing: test.says}}
		got, why := Decide(s, test.own, shapes[test.shape], test.shape != unseen)
		if got != test.want || why != test.why {
			t.Errorf("%q, own credentials %v, %s: %q because %q; want %q because %q",
				test.says, test.own, test.shape, got, why, test.want, test.why)
		}
	}
}

// The key is what decides who shares: here is who gets which.
func TestWhoSharesWhat(t *testing.T) {
	const caps = `{"roots":{}}`
	annsChat := func(w *Want) { w.Owner, w.Session, w.Caps = ann, "chat", caps }
	annModern := func(w *Want) { w.Owner, w.Caps = ann, caps }
	nobody := func(w *Want) { w.Owner = jackfield.App() }
	for name, test := range map[string]struct {
		shape exchange.Shape
		edit  func(*jackfield.Server)
		who   func(*Want)
		want  string
		caps  string
	}{
		"modern":                       {modern, sharing(""), annsChat, "docs for app", ""},
		"sessionless, by capabilities": {sessionless, sharing(""), annsChat, "docs for app", caps},
		"stateful, in a session":       {stateful, sharing(""), annsChat, "docs for user:ann (session:chat)", caps},
		"stateful, without a session":  {stateful, sharing(""), annModern, "docs for user:ann", caps},
		"stateful, for everybody":      {stateful, sharing(""), nobody, "docs for app", ""},
		"stdio, in a session":          {stdio, sharing(""), annsChat, "docs for user:ann (session:chat)", caps},
		"stdio, without a session":     {stdio, sharing(""), annModern, "docs for user:ann", caps},
		"modern stdio":                 {modernStdio, sharing(""), annsChat, "docs for app", ""},
		"modern, own credentials":      {modern, oauth, annsChat, "docs for user:ann", ""},
		"sessionless, own credentials": {sessionless, oauth, annsChat, "docs for user:ann", caps},
		"stateful, own credentials":    {stateful, oauth, annsChat, "docs for user:ann (session:chat)", caps},
		"said app":                     {stateful, sharing("app"), annsChat, "docs for app", caps},
		"said owner":                   {modern, sharing("owner"), annsChat, "docs for user:ann", ""},
		"said session":                 {modern, sharing("session"), annsChat, "docs for user:ann (session:chat)", caps},
		"said session, without one":    {modern, sharing("session"), annModern, "docs for user:ann", ""},
		"said call":                    {modern, sharing("call"), annsChat, "docs for user:ann (call:1)", caps},
	} {
		for _, known := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				board(t, func(bt *boardTest) {
					s := bt.add("docs", test.shape, test.edit)
					if known {
						s.known = &test.shape
					}
					w := Want{Server: s.def}
					test.who(&w)
					l := bt.acquire(w)
					if got := l.Key(); got.String() != test.want || got.Isolation.Caps != test.caps {
						t.Errorf("known before: %v: it stands under %v with %q, want %s with %q", known, got, got.Isolation.Caps, test.want, test.caps)
					}
					if c := l.Conn(); c.caps != w.Caps && !c.shape.Modern() {
						t.Errorf("the server was told %q", c.caps)
					}
					l.Release()
					again := bt.acquire(w)
					if same := again.Conn() == l.Conn(); same == (name == "said call") {
						t.Errorf("the same connection for the next call: %v", same)
					}
					again.Release()
				})
			})
		}
	}
}
