package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield/internal/api"
)

func TestWhoeverWaitsMoreThanASecondIsToldForWhatAndHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs screen
		s := &shell{err: &errs, terminal: func(any) (int, bool) { return 60, true }}
		stop := s.waiting("waiting for the gateway")
		time.Sleep(900 * time.Millisecond)
		if errs.String() != "" {
			t.Errorf("too early: %q", errs.String())
		}
		time.Sleep(2 * time.Second)
		if got := errs.String(); got != "\r\x1b[Kwaiting for the gateway … 1s\r\x1b[Kwaiting for the gateway … 2s" {
			t.Errorf("%q", got)
		}
		stop()
		stop()
		if !strings.HasSuffix(errs.String(), "\r\x1b[K") {
			t.Errorf("the line stays: %q", errs.String())
		}
		before := errs.String()
		time.Sleep(time.Minute)
		if errs.String() != before {
			t.Error("it goes on afterwards")
		}

		// What the server says of its progress is better.
		for name, better := range map[string]func(*live){
			"progress": func(l *live) { l.show("50 %") },
			"log":      func(l *live) { l.print("server: info: at work") },
			"question": func(l *live) { l.clear() },
		} {
			var shown screen
			s.err = &shown
			l := s.live()
			end := l.wait(func() string { return "waiting" })
			time.Sleep(1500 * time.Millisecond)
			better(l)
			said := shown.String()
			time.Sleep(time.Minute)
			end()
			if shown.String() != said {
				t.Errorf("%s: written over: %q", name, shown.String())
			}
		}

		// Without a terminal nothing is said, and nothing runs.
		s.terminal = func(any) (int, bool) { return 0, false }
		errs = screen{}
		s.err = &errs
		stop = s.waiting("x")
		time.Sleep(time.Minute)
		stop()
		if errs.String() != "" {
			t.Errorf("without a terminal: %q", errs.String())
		}
	})
}

func TestTheTableOfServersSaysWhyEachIsAsItIs(t *testing.T) {
	age := int64(7200)
	old := map[string]api.ListingStatus{"tools": {Count: 3, AgeSeconds: &age, Error: "connection refused"}}
	for want, v := range map[string]api.ServerStatus{
		"no connection is open; a call opens one":            {State: api.StateIdle},
		"startup: false, so it is listed when somebody asks": {State: api.StateIdle, OnDemand: true},
		"needs Token: here":                                  {State: api.StateReady, Needs: []api.Need{{Title: "Token", Where: "here"}}},
		"2 calls under way":                                  {State: api.StateReady, Leases: 2},
		"":                                                   {State: api.StateReady},
		"no such host":                                       {State: api.StateFailed, Reason: "no such host", Listings: old},
		"what it listed 2h ago is served, for it cannot be listed now: connection refused": {State: api.StateIdle, Listings: old},
		"the tools could not be listed: connection refused":                                {State: api.StateIdle, Listings: map[string]api.ListingStatus{"tools": {Error: "connection refused"}}},
		"the list of tools is not complete: more than 100 pages":                           {State: api.StateIdle, Listings: map[string]api.ListingStatus{"tools": {Truncated: "more than 100 pages"}}},
		"warning: proxy is not ours":                                                       {State: api.StateIdle, Warnings: []string{"proxy is not ours", "x"}},
	} {
		if got := reason(v); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
