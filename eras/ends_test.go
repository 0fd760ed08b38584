package eras

import (
	"context"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestAServerThatChangesItsEraUnderUs(t *testing.T) {
	for _, way := range [][2]upstreamtest.Era{{upstreamtest.Legacy, upstreamtest.Modern}, {upstreamtest.Modern, upstreamtest.Legacy}} {
		for _, version := range exchange.Versions {
			t.Run(string(way[1])+"/"+version, func(t *testing.T) {
				h := open(t, map[string]upstreamtest.Script{"turncoat": {Era: way[0]}})
				c := connect(t, h.url, "/mcp/turncoat", version, allCaps(version))
				c.call("echo", `{"text":"before"}`, "")
				h.servers["turncoat"].Turn(way[1])
				h.servers["turncoat"].Forget()
				arguments := `{"name":"echo","arguments":{"text":"after"}}`
				result, failed := c.do(t.Context(), "tools/call", arguments, "")
				if failed != nil { // it says so once; the next call finds out what it speaks now
					t.Logf("told: %s", failed.Message)
					result, failed = c.do(t.Context(), "tools/call", arguments, "")
				}
				if failed != nil || !strings.Contains(string(result), "after") {
					t.Errorf("%s %v", result, failed)
				}
			})
		}
	}
}

func TestALegacyClientThatDisconnectsDoesNotEndItsCall(t *testing.T) {
	kinds := map[string]upstreamtest.Script{"modern": {}, "legacy": {Era: upstreamtest.Legacy}}
	h := open(t, kinds)
	for kind := range kinds {
		for _, version := range exchange.LegacyVersions {
			t.Run(version+"/"+kind, func(t *testing.T) {
				s := h.servers[kind]
				c := connect(t, h.url, "/mcp/"+kind, version, allCaps(version))
				calls, ended := s.Count("tool:slow"), s.Count("cancelled")+s.Count("abandoned")
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					_, _ = c.once(ctx, "tools/call", `{"name":"slow","arguments":{"ms":300}}`, "", "")
				}()
				s.Wait(t, "tool:slow", calls+1)
				cancel()
				<-done
				c.call("slow", `{"ms":400}`, "") // the first has ended when this one has
				if n := s.Count("cancelled") + s.Count("abandoned"); n != ended {
					t.Errorf("%d calls were ended", n-ended)
				}
			})
		}
	}
}
