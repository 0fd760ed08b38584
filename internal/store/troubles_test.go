package store

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestALongOutageIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &Store{engine: postgresEngine, log: slog.New(slog.NewTextHandler(&log, nil))}
		logged := func(what string, err error, want int) {
			t.Helper()
			log.Reset()
			if got := s.explain(what, err); (got == nil) != (err == nil) {
				t.Errorf("explained %v", got)
			}
			if n := strings.Count(log.String(), "\n"); n != want {
				t.Errorf("%d lines, want %d:\n%s", n, want, log.String())
			}
		}
		logged("nothing was read", context.DeadlineExceeded, 1)
		logged("nothing was changed", context.DeadlineExceeded, 1) // something else
		for range 100 {
			time.Sleep(2 * time.Second)
			logged("nothing was read", context.DeadlineExceeded, 0)
		}
		logged("nothing was read", context.Canceled, 1) // for another reason
		logged("nothing was read", nil, 0)
		logged("nothing was read", context.Canceled, 1) // anew
		time.Sleep(sayAgain)
		logged("nothing was read", context.Canceled, 1)
	})
}
