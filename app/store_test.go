package app

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestADiskThatCannotBeWrittenIsToldOfAndHurtsNobody(t *testing.T) {
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "jackfield.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := start(t, &Config{Data: data}, server("a", upstreamtest.New(t, upstreamtest.Script{})))
	h.call("/mcp", "a__echo", "{}")
	var health api.Health
	if h.read("/healthz", &health); health.Status != "degraded" || strings.Contains(health.Reason, data) {
		t.Errorf("%+v", health)
	}
	if n := strings.Count(h.logs.String(), "the catalog cannot be kept"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestAStoreThatFailsWhileServingIsToldOfAndMendsItself(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{})
	data := t.TempDir()
	h := start(t, &Config{Data: data}, server("a", s))
	h.waitListed(listedOnce)
	var health api.Health
	if h.read("/healthz", &health); health.Status != "ok" {
		t.Fatalf("%+v", health)
	}
	sabotage := func(statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.Join(data, "jackfield.db")}).String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err = db.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000; "+statement); err != nil {
			t.Fatal(err)
		}
		if err = db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wait := func(status string) api.Health {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			var now api.Health
			if h.read("/healthz", &now); now.Status == status {
				return now
			}
			if time.Now().After(end) {
				t.Fatalf("never %s: %+v", status, now)
			}
		}
	}
	sabotage("CREATE TRIGGER full BEFORE INSERT ON lists BEGIN SELECT raise(ABORT, 'the disk is full'); END")
	time.Sleep(1100 * time.Millisecond) // a listing is a second old at least before it is made anew
	s.AddTool("later")
	if _, failed := h.ask("/mcp", "tools/list", "{}"); failed != nil {
		t.Error(failed)
	}
	if health = wait("degraded"); !strings.Contains(health.Reason, "the log says why") || !strings.Contains(h.logs.String(), "the disk is full") {
		t.Errorf("%+v", health)
	}
	if got := h.call("/mcp", "a__echo", `{"text":"still there"}`); !strings.Contains(got, "still there") {
		t.Error(got)
	}
	if result, failed := h.ask("/mcp", "tools/list", "{}"); failed != nil || !strings.Contains(string(result), "a__later") {
		t.Errorf("tools/list: %s, %v", result, failed)
	}
	sabotage("DROP TRIGGER full")
	wait("ok")
	if logs := h.logs.String(); strings.Count(logs, "the catalog cannot be kept") != 1 || !strings.Contains(logs, "kept again") {
		t.Error("the log does not say once that it fails, and that it is over")
	}
}

func TestALongFailureIsLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs logged
		log := slog.New(slog.NewTextHandler(&logs, nil))
		var s saves
		for range 60 {
			s.ended(log, errors.New("the disk is full"))
			time.Sleep(time.Minute)
		}
		if n := strings.Count(logs.String(), "level=ERROR"); n != 6 {
			t.Errorf("said %d times within an hour", n)
		}
		s.ended(log, nil)
		s.ended(log, nil)
		if n := strings.Count(logs.String(), "kept again"); n != 1 || s.degraded() != nil {
			t.Errorf("said %d times that it is over; degraded: %v", n, s.degraded())
		}
	})
}

func TestManyRestoredServersDoNotDelayTheStart(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{})
	const many = 300
	var servers []jackfield.Server
	for i := range many {
		servers = append(servers, server(fmt.Sprint("s", i), s))
	}
	data := t.TempDir()
	first := start(t, &Config{Data: data}, servers...)
	first.waitListed(listedOnce)
	first.stop()
	began := time.Now()
	second := start(t, &Config{Data: data}, servers...)
	took := time.Since(began)
	result, failed := second.ask("/mcp", "tools/list", "{}")
	if n := strings.Count(string(result), `"name":"s`); failed != nil || n < many {
		t.Errorf("%d tools, %v", n, failed)
	}
	if took > 2*time.Second {
		t.Errorf("the start took %v", took)
	}
	t.Logf("%d servers restored: ready after %v, and listed after %v", many, took, time.Since(began))
}
