package telemetry

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// paper is where a test's log is written.
type paper struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

// take is what was written since the last time, line by line.
func (p *paper) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := strings.TrimSpace(p.text.String())
	p.text.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func limited(level slog.Level) (*slog.Logger, *Limiter, *paper) {
	p := &paper{}
	l := Limit(slog.NewTextHandler(p, &slog.HandlerOptions{Level: level}))
	return slog.New(l), l, p
}

func TestAStormIsOneLineForEachServerAndMinuteWithItsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, p := limited(slog.LevelInfo)
		const servers, owners = 37, 1000
		for range 60 { // an hour would do no more: 1,000 attempts a second
			for s := range servers {
				for o := range owners / 60 * 2 {
					log.Warn("no connection", slog.String("server", fmt.Sprint("s", s)), slog.String("scope", fmt.Sprint("user:", o)))
				}
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		lines := p.take()
		if len(lines) != 2*servers { // the first of each, and what its minute was
			t.Errorf("%d lines", len(lines))
		}
		if got := lines[len(lines)-1]; !strings.Contains(got, "times=1919") || !strings.Contains(got, "scopes=32") {
			t.Errorf("%s", got)
		}
		l.Close()
		if lines := p.take(); len(lines) != 0 {
			t.Errorf("%q", lines)
		}
	})
}

func TestARepeatedLineIsWrittenWhenItsMinuteIsOverAlsoIfNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, p := limited(slog.LevelInfo)
		defer l.Close()
		for i := range 3 {
			log.Error("it broke", slog.Int("n", i))
		}
		if got := p.take(); len(got) != 1 || !strings.Contains(got[0], "n=0") {
			t.Errorf("%q", got)
		}
		time.Sleep(window)
		synctest.Wait()
		if got := p.take(); len(got) != 1 || !strings.Contains(got[0], "n=2 times=2") {
			t.Errorf("%q", got)
		}
		time.Sleep(window) // a quiet minute
		synctest.Wait()
		log.Error("it broke", slog.Int("n", 9))
		if got := p.take(); len(got) != 1 || !strings.Contains(got[0], "n=9") {
			t.Errorf("after a quiet minute: %q", got)
		}
	})
}

func TestLinesOfOtherServersAndLevelsAreOfOtherKinds(t *testing.T) {
	log, l, p := limited(slog.LevelDebug)
	defer l.Close()
	of := log.With(slog.String("server", "a"))
	for range 2 {
		of.Warn("no connection")
		log.Warn("no connection", slog.String("server", "b"))
		log.Error("no connection", slog.String("server", "b"))
		log.WithGroup("g").Warn("no connection", slog.String("server", "b")) // not the attribute meant
		log.Debug("closed")
	}
	if got := p.take(); len(got) != 6 { // and both of debug
		t.Errorf("%q", got)
	}
}

func TestNoMoreThanAHundredRepeatedLinesComeInAMinuteAndNoneIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, p := limited(slog.LevelInfo)
		defer l.Close()
		const servers = 250
		for range 3 {
			for s := range servers {
				log.Warn("no connection", slog.String("server", fmt.Sprint(s)))
			}
		}
		if got := len(p.take()); got != servers {
			t.Errorf("%d first lines", got)
		}
		for _, want := range []int{100, 100, 50, 0} {
			time.Sleep(window)
			synctest.Wait()
			got := p.take()
			if len(got) != want {
				t.Errorf("%d lines, not %d", len(got), want)
			}
			for _, line := range got {
				if !strings.Contains(line, "times=2") {
					t.Error(line)
				}
			}
		}
	})
}

func TestTheTableOfKindsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, l, p := limited(slog.LevelInfo)
		for i := range 5 * mostKinds {
			log.Info("line", slog.Int("server", i))
		}
		if got := len(p.take()); got != mostKinds {
			t.Errorf("%d lines", got)
		}
		time.Sleep(window)
		synctest.Wait()
		if got := p.take(); len(got) != 1 || !strings.Contains(got[0], fmt.Sprint("times=", 4*mostKinds)) {
			t.Errorf("%q", got)
		}
		l.Close()
	})
}

func TestClosingWritesWhatWasCounted(t *testing.T) {
	log, l, p := limited(slog.LevelInfo)
	for range 5 {
		log.Warn("no connection", slog.String("server", "a"))
	}
	l.Close()
	log.Warn("no connection", slog.String("server", "a"))
	if got := p.take(); len(got) != 3 || !strings.Contains(got[1], "times=4") {
		t.Errorf("%q", got)
	}
}

func TestSecretsStayRedactedInWhatWasCounted(t *testing.T) {
	log, l, p := limited(slog.LevelInfo)
	for range 3 {
		log.Warn("odd", slog.Any("token", jackfield.Secret("hush")))
	}
	l.Close()
	if got := strings.Join(p.take(), "\n"); strings.Contains(got, "hush") || strings.Count(got, "[redacted]") != 2 {
		t.Error(got)
	}
}
