package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestAServerThatAsksToBeLeftAloneIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		answer string
		code   jackfield.Code
		words  string
		wait   time.Duration
	}{
		{`{"code":429,"after":"20","text":"slow down"}`, jackfield.Exhausted, "asked too often (HTTP 429): slow down; it asked to be left alone for 20s (http 429; failed since ", 20 * time.Second},
		{`{"code":503,"after":"20"}`, jackfield.Unavailable, "(HTTP 503)", 20 * time.Second},
		{`{"code":503,"after":"86400"}`, jackfield.Unavailable, "(HTTP 503)", pauseMax},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := patch(t, upstreamtest.New(t, upstreamtest.Script{Era: upstreamtest.Legacy, InProcess: true}))
			asked := func() int { return d.s.Count("tools/call") }
			_, first := d.Do(t.Context(), tool(t, d.Conn, "status", c.answer), nil)
			sent := asked()
			time.Sleep(c.wait - time.Second)
			_, err := d.Do(t.Context(), tool(t, d.Conn, "echo", `{"text":"a"}`), nil)
			for _, err := range []error{first, err} {
				f := jackfield.FailureOf(err)
				if jackfield.CodeOf(err) != c.code || f == nil || !strings.Contains(err.Error(), c.words) || f.Next.Sub(f.Since) != c.wait {
					t.Fatalf("%s: %v, %+v", c.answer, err, f)
				}
			}
			if asked() != sent || !NotSent(err) || !strings.Contains(err.Error(), "in 1s)") {
				t.Errorf("%s: it was asked all the same, or nobody is told: %v", c.answer, err)
			}
			time.Sleep(time.Second)
			d.call(t, "echo", `{"text":"a"}`)
		})
	}
}

func TestARefusalThatNamesNoTimeHoldsNobodyBack(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	for _, answer := range []string{`{"code":429}`, `{"code":503}`, `{"code":500,"after":"20"}`} {
		if _, err := d.Do(t.Context(), tool(t, d.Conn, "status", answer), nil); err == nil {
			t.Fatal(answer)
		}
		d.call(t, "echo", `{"text":"a"}`)
	}
}
