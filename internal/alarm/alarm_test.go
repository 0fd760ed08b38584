package alarm

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bell notes when it rang.
type bell struct {
	Alarm
	mu   sync.Mutex
	rang []time.Duration
	t0   time.Time
}

func (b *bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rang = append(b.rang, time.Since(b.t0))
}

func (b *bell) heard() []time.Duration {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rang
}

func TestEachAlarmRingsOnceAndExactlyInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(5 * time.Second)
		bells := make([]*bell, 7)
		for i := range bells {
			bells[i] = &bell{t0: time.Now()}
			c.Set(&bells[i].Alarm, bells[i])
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for i, b := range bells {
			if got := b.heard(); len(got) != 1 || got[0] != 5*time.Second {
				t.Errorf("alarm %d rang after %v", i, got)
			}
			if c.Stop(&b.Alarm) {
				t.Errorf("alarm %d was stopped after it had rung", i)
			}
		}
	})
}

func TestAStoppedAlarmNeverRingsAndTheOthersDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for stopped := range 3 { // the first, one in the middle, the last
			c := New(time.Second)
			bells := []*bell{{t0: time.Now()}, {t0: time.Now()}, {t0: time.Now()}}
			for _, b := range bells {
				c.Set(&b.Alarm, b)
			}
			time.Sleep(time.Second / 2)
			if b := bells[stopped]; !c.Stop(&b.Alarm) || c.Stop(&b.Alarm) {
				t.Error("it was not stopped, or twice")
			}
			time.Sleep(time.Minute)
			for i, b := range bells {
				if got := b.heard(); (i == stopped) != (len(got) == 0) {
					t.Errorf("alarm %d of which %d was stopped rang after %v", i, stopped, got)
				}
			}
		}
	})
}

func TestAClockThatHadNothingToDoRingsInTimeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(time.Second)
		for _, wait := range []time.Duration{0, time.Second / 2, 3 * time.Second} {
			var idle bell
			c.Set(&idle.Alarm, &idle)
			c.Stop(&idle.Alarm)
			time.Sleep(wait)
			b := &bell{t0: time.Now()}
			c.Set(&b.Alarm, b)
			time.Sleep(time.Minute)
			if got := b.heard(); len(got) != 1 || got[0] != time.Second {
				t.Errorf("after a pause of %v it rang after %v", wait, got)
			}
		}
	})
}

// again sets its alarm anew when it rings, as often as it is told.
type again struct {
	bell
	c *Clock
	n int
}

func (a *again) Ring() {
	a.bell.Ring()
	if a.n--; a.n > 0 {
		a.c.Set(&a.Alarm, a)
	}
}

func TestAnAlarmMayBeSetAgainWhileItRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &again{bell: bell{t0: time.Now()}, c: New(time.Second), n: 3}
		a.c.Set(&a.Alarm, a)
		time.Sleep(time.Minute)
		if got := a.heard(); len(got) != 3 || got[2] != 3*time.Second {
			t.Errorf("it rang after %v", got)
		}
	})
}

func BenchmarkSetAndStop(b *testing.B) {
	c := New(time.Minute)
	var one bell
	b.ReportAllocs()
	for b.Loop() {
		c.Set(&one.Alarm, &one)
		c.Stop(&one.Alarm)
	}
}
