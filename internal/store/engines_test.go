package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/internal/pgtest"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// onBoth runs a test on a new store of each engine: what holds does not depend on
// which it is. The tests of a catalog and of one engine's own ways stand elsewhere.
func onBoth(t *testing.T, test func(t *testing.T, o Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, Options{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { test(t, postgres(t)) })
}

func postgres(t *testing.T) Options {
	t.Helper()
	return Options{DSN: jackfield.Secret(pgtest.Start(t).DSN(t))}
}

func at(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return s
}

// put is a write of a server, whatever was there.
func put(id, body string) record.Write {
	return record.Write{Ref: server(id), Anyway: true, Body: []byte(body)}
}

func server(id string) record.Ref { return record.Ref{Kind: record.Server, ID: id} }

func write(t *testing.T, s *Store, writes ...record.Write) []record.Record {
	t.Helper()
	records, err := s.Write(t.Context(), "ann", writes...)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func everythingIn(t *testing.T, s *Store) record.Batch {
	t.Helper()
	b, err := s.All(t.Context())
	if err != nil || !b.All {
		t.Fatalf("All: %v, %v", b.All, err)
	}
	return b
}

// replica is what somebody knows who asks what is new.
type replica struct {
	head    uint64
	records map[record.Ref]record.Record
}

func (r *replica) take(b record.Batch) {
	if b.All {
		r.records = map[record.Ref]record.Record{}
	}
	for _, rec := range b.Records {
		r.records[rec.Ref] = rec
	}
	for _, gone := range b.Gone {
		delete(r.records, gone)
	}
	r.head = b.Head
}

func replicaOf(b record.Batch) *replica {
	r := &replica{}
	r.take(b)
	return r
}

func (r *replica) ask(t *testing.T, s *Store) record.Batch {
	t.Helper()
	b, err := s.Since(t.Context(), r.head)
	if err != nil {
		t.Fatal(err)
	}
	r.take(b)
	return b
}

func (r *replica) mustBe(t *testing.T, other *replica) {
	t.Helper()
	if r.head != other.head || !reflect.DeepEqual(r.records, other.records) {
		t.Errorf("knows %d records at %d, want %d at %d\n%+v\n%+v", len(r.records), r.head, len(other.records), other.head, r.records, other.records)
	}
}

// gapless fails unless the log is complete from the first change to the head.
func gapless(t *testing.T, s *Store) []record.Change {
	t.Helper()
	head := everythingIn(t, s).Head
	var all []record.Change
	for {
		some, err := s.Log(t.Context(), uint64(len(all)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	for i, c := range all {
		if c.Number != uint64(i)+1 {
			t.Fatalf("entry %d of the log has the number %d", i, c.Number)
		}
	}
	if uint64(len(all)) != head {
		t.Fatalf("%d entries, but the head is %d", len(all), head)
	}
	return all
}

func conflict(t *testing.T, err error, current uint64) {
	t.Helper()
	var c *record.Conflict
	if jackfield.CodeOf(err) != jackfield.Conflict || !errors.As(err, &c) || c.Current != current {
		t.Errorf("%v, want a conflict with the revision %d", err, current)
	}
}

func TestAWriteIsDoneOnlyIfTheRecordHasTheRevisionItAsksFor(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		a := server("app/a")
		made := write(t, s, record.Write{Ref: a, Body: []byte(`{"x": 1}`), Sealed: []byte{0, 255}, Seal: 1 << 31})[0]
		if made.Revision != 1 || made.Version != 1 || made.By != "ann" || string(made.Body) != `{"x": 1}` || !slices.Equal(made.Sealed, []byte{0, 255}) ||
			made.Seal != 1<<31 || made.Ref != a || !made.Created.Equal(made.Changed) || time.Since(made.Created).Abs() > time.Minute {
			t.Errorf("made: %+v", made)
		}
		_, err := s.Write(t.Context(), "bob", record.Write{Ref: a})
		conflict(t, err, 1)
		_, err = s.Write(t.Context(), "bob", record.Write{Ref: a, If: 7})
		conflict(t, err, 1)
		_, err = s.Write(t.Context(), "bob", record.Write{Ref: server("app/b"), If: 1})
		conflict(t, err, 0)
		_, err = s.Write(t.Context(), "bob", record.Write{Ref: a, If: 7, Remove: true})
		conflict(t, err, 1)

		changed, err := s.Write(t.Context(), "bob", record.Write{Ref: a, If: 1, Body: []byte(`{}`)})
		if err != nil || changed[0].Revision != 2 || changed[0].Version != 1 || changed[0].By != "bob" || changed[0].Sealed != nil || changed[0].Seal != 0 ||
			!changed[0].Created.Equal(made.Created) || changed[0].Changed.Before(made.Changed) {
			t.Errorf("changed: %+v, %v", changed, err)
		}
		if newer := write(t, s, record.Write{Ref: a, Anyway: true, NewVersion: true})[0]; newer.Revision != 3 || newer.Version != 3 || len(newer.Body) != 0 {
			t.Errorf("a new version: %+v", newer)
		}
		if gone := write(t, s, record.Write{Ref: a, If: 3, Remove: true})[0]; !reflect.DeepEqual(gone, record.Record{}) {
			t.Errorf("removed: %+v", gone)
		}
		if again := write(t, s, record.Write{Ref: a, Body: []byte("1")})[0]; again.Revision != 5 || again.Version != 5 {
			t.Errorf("made anew: %+v", again)
		}
		if b := everythingIn(t, s); b.Head != 5 || len(b.Records) != 1 {
			t.Errorf("what failed left something behind: %+v", b)
		}
		log := gapless(t, s)
		for i, want := range []string{"ann", "bob", "ann", "ann", "ann"} {
			if c := log[i]; c.Ref != a || c.By != want || c.Gone != (i == 3) || time.Since(c.At).Abs() > time.Minute {
				t.Errorf("change %d: %+v", i, c)
			}
		}
	})
}

func TestOfManyWritesAllAreDoneOrNone(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		write(t, s, put("a", "1"), put("b", "1"))
		before := replicaOf(everythingIn(t, s))
		_, err := s.Write(t.Context(), "ann", put("a", "2"), record.Write{Ref: server("b"), Anyway: true, Remove: true}, put("c", "2"), record.Write{Ref: server("a2"), If: 9})
		conflict(t, err, 0)
		before.mustBe(t, replicaOf(everythingIn(t, s)))
		gapless(t, s)

		done := write(t, s, put("a", "2"), record.Write{Ref: server("b"), If: 2, Remove: true}, put("c", "2"))
		if done[0].Revision != 3 || done[1].Revision != 0 || done[2].Revision != 5 {
			t.Errorf("%+v", done)
		}
		if none, bad := s.Write(t.Context(), "ann"); bad != nil || none != nil {
			t.Errorf("nothing: %v, %v", none, bad)
		}
		left, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err = s.Write(left, "ann", put("a", "3")); jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Errorf("somebody who has left: %v", err)
		}
		if b := everythingIn(t, s); b.Head != 5 {
			t.Errorf("the head is %d", b.Head)
		}
	})
}

func TestOfThoseWhoChangeTheSameRecordOneWins(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		const racers, rounds = 16, 5
		for round := range uint64(rounds) {
			var won, lost atomic.Int32
			var all sync.WaitGroup
			for racer := range racers {
				all.Go(func() {
					_, err := s.Write(t.Context(), "ann", record.Write{Ref: server("a"), If: round, Body: []byte(fmt.Sprint(racer))})
					switch {
					case err == nil:
						won.Add(1)
					case errors.As(err, new(*record.Conflict)):
						lost.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			all.Wait()
			if won.Load() != 1 || lost.Load() != racers-1 {
				t.Errorf("round %d: %d won, %d lost", round, won.Load(), lost.Load())
			}
		}
		if n := len(gapless(t, s)); n != rounds {
			t.Errorf("%d changes", n)
		}
	})
}

// TestWhoeverFollowsTheLogKnowsWhatIsThere: writers change, remove and fail at once,
// on PostgreSQL as two processes do, while others follow.
func TestWhoeverFollowsTheLogKnowsWhatIsThere(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		stores := []*Store{at(t, o)}
		if o.DSN != "" {
			stores = append(stores, at(t, o))
		} else {
			stores = append(stores, stores[0])
		}
		const writers, writes = 6, 20
		var writing, following sync.WaitGroup
		done := make(chan struct{})
		for i := range writers {
			writing.Go(func() {
				s := stores[i%2]
				for n := range writes {
					id := fmt.Sprint("s", (i*7+n*3)%10)
					w := []record.Write{put(id, fmt.Sprint(i, n)), {Ref: server(id + "'"), Anyway: true, Remove: n%2 == 0, NewVersion: true}}
					if n%5 == 4 {
						w = append(w, record.Write{Ref: server("never"), If: 1})
					}
					if _, err := s.Write(t.Context(), "ann", w...); err != nil && n%5 != 4 {
						t.Error(err)
					}
				}
			})
		}
		replicas := []*replica{replicaOf(everythingIn(t, stores[0])), replicaOf(everythingIn(t, stores[1]))}
		for i, r := range replicas {
			hints := hinted(t, stores[i])
			following.Go(func() {
				for last := false; !last; {
					select {
					case <-done:
						last = true
					case <-hints:
					}
					before := r.head
					if b, err := stores[i].Since(t.Context(), r.head); err != nil || b.All || b.Head < before {
						t.Errorf("since %d: %d, %v, %v", before, b.Head, b.All, err)
					} else {
						r.take(b)
					}
				}
			})
		}
		writing.Wait()
		close(done)
		following.Wait()
		if n := len(gapless(t, stores[0])); n != writers*writes*4/5*2 {
			t.Errorf("%d changes", n)
		}
		for _, r := range replicas {
			r.mustBe(t, replicaOf(everythingIn(t, stores[0])))
		}
	})
}

func TestWhoeverIsTooFarBehindGetsEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		s.keep = 20
		write(t, s, put("early", "1"))
		early := replicaOf(everythingIn(t, s))
		for range 3 {
			var many []record.Write
			for n := range trimEvery {
				many = append(many, put(fmt.Sprint("s", n), "1"))
			}
			write(t, s, many...)
		}
		write(t, s, record.Write{Ref: server("early"), Anyway: true, Remove: true})
		now := everythingIn(t, s)
		log, err := s.Log(t.Context(), 0, maxLog)
		if err != nil || len(log) > int(s.keep)+trimEvery || len(log) < int(s.keep) || log[len(log)-1].Number != now.Head {
			t.Errorf("%d entries are kept, %v", len(log), err)
		}
		for i, c := range log {
			if c.Number != log[0].Number+uint64(i) {
				t.Errorf("entry %d has the number %d", i, c.Number)
			}
		}
		for _, r := range []*replica{early, {head: log[0].Number - 2}, {head: now.Head + 1}, {head: 1<<64 - 1}, {}} {
			if b := r.ask(t, s); !b.All || b.Gone != nil {
				t.Errorf("it got a part: %+v", b)
			}
			r.mustBe(t, replicaOf(now))
		}
		for _, number := range []uint64{now.Head, now.Head - 1, log[0].Number - 1} {
			b, err := s.Since(t.Context(), number)
			if want := log[len(log)-int(now.Head-number):]; err != nil || b.All || len(b.Records)+len(b.Gone) != len(want) || b.Head != now.Head {
				t.Errorf("since %d: all %v, %d and %d of %d, %v", number, b.All, len(b.Records), len(b.Gone), len(want), err)
			}
		}
	})
}

func TestWhatIsWrittenIsReadAsItWas(t *testing.T) {
	texts := []string{
		"'; DROP TABLE records; --", `"`, `\`, `\x41`, "$1", "?", "%", "_", "NULL", "a\x1fb", "tab\tline\nreturn\r",
		"Ünï\u0308cödé", "日本語", "\u202egnp", "\U0001f980", "\u200b", " lead", "trail ", "A", "a", "é", "e\u0301",
		"../../etc/passwd", "app/github", "user:a:b/c", strings.Repeat("x", maxID), strings.Repeat("é", maxID/2),
	}
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		want := map[string]string{}
		for _, text := range texts {
			r, err := s.Write(t.Context(), text, record.Write{Ref: server(text), Body: []byte(text)})
			if err != nil || r[0].ID != text || r[0].By != text {
				t.Fatalf("%q: %+v, %v", text, r, err)
			}
			want[text] = text
		}
		write(t, s, record.Write{Ref: server("bytes"), Body: []byte("\x00\xff\x00"), Sealed: []byte{0}, Seal: 1})
		want["bytes"] = "\x00\xff\x00"
		got := map[string]string{}
		for _, r := range everythingIn(t, at(t, reopened(t, s, o))).Records {
			got[r.ID] = string(r.Body)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// reopened closes the store and gives the options to open it with again.
func reopened(t *testing.T, s *Store, o Options) Options {
	t.Helper()
	closed(t, s)
	return o
}

func TestWhatIsTooLongOrNoTextIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		big := make([]byte, maxBody)
		write(t, s, record.Write{Ref: server(strings.Repeat("x", maxID)), Body: big, Sealed: big, Seal: 1})
		many := make([]record.Write, maxWrites+1)
		for i := range many {
			many[i] = put(fmt.Sprint(i), "")
		}
		var heavy []record.Write
		for i := range maxAtOnce/maxBody + 1 {
			heavy = append(heavy, record.Write{Ref: server(fmt.Sprint(i)), Body: big})
		}
		for what, writes := range map[string][]record.Write{
			"a long id":       {put(strings.Repeat("x", maxID+1), "")},
			"no id":           {put("", "")},
			"no kind":         {{Ref: record.Ref{ID: "a"}}},
			"a long kind":     {{Ref: record.Ref{Kind: record.Kind(strings.Repeat("k", maxKind+1)), ID: "a"}}},
			"a zero byte":     {put("a\x00b", "")},
			"no UTF-8":        {put("a\xff", "")},
			"a surrogate":     {put("a\xed\xa0\x80", "")},
			"a long body":     {{Ref: server("a"), Body: append(big, 0)}},
			"long secrets":    {{Ref: server("a"), Sealed: append(big, 0), Seal: 1}},
			"the same twice":  {put("a", ""), put("a", "")},
			"too many":        many,
			"too much at all": heavy,
		} {
			if _, err := s.Write(t.Context(), "ann", writes...); jackfield.CodeOf(err) != jackfield.Invalid || len(err.Error()) > 300 {
				t.Errorf("%s: %.400v", what, err)
			}
		}
		for _, by := range []string{strings.Repeat("x", maxID+1), "a\x00", "\xff"} {
			if _, err := s.Write(t.Context(), by, put("a", "")); jackfield.CodeOf(err) != jackfield.Invalid {
				t.Errorf("by %.10q: %v", by, err)
			}
		}
		if b := everythingIn(t, s); b.Head != 1 {
			t.Errorf("the head is %d", b.Head)
		}
	})
}

func TestSecretsAreSealedAnewUnlessSomebodyChangedThem(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		sealed := func(id string, key uint32) record.Write {
			return record.Write{Ref: server(id), Anyway: true, Sealed: []byte(id), Seal: key}
		}
		write(t, s, sealed("a", 1), sealed("b", 1), sealed("c", 1<<32-1), put("open", "{}"))
		seals := func(want map[uint32]int) {
			t.Helper()
			if got, err := s.Seals(t.Context()); err != nil || !maps.Equal(got, want) {
				t.Errorf("seals %v, %v, want %v", got, err, want)
			}
		}
		seals(map[uint32]int{1: 2, 1<<32 - 1: 1})
		before := everythingIn(t, s)
		old, err := s.SealedWith(t.Context(), 1<<32-1, 10)
		if err != nil || len(old) != 2 {
			t.Fatalf("%+v, %v", old, err)
		}
		slices.SortFunc(old, func(a, b record.Record) int { return cmp.Compare(a.ID, b.ID) })
		if one, bad := s.SealedWith(t.Context(), 7, 1); bad != nil || len(one) != 1 {
			t.Errorf("at most one: %+v, %v", one, bad)
		}
		if err = s.Reseal(t.Context(), old[0], []byte("anew"), 2); err != nil {
			t.Error(err)
		}
		seals(map[uint32]int{1: 1, 2: 1, 1<<32 - 1: 1})
		changed := write(t, s, sealed("b", 3))[0]
		conflict(t, s.Reseal(t.Context(), old[1], []byte("anew"), 2), changed.Revision)
		conflict(t, s.Reseal(t.Context(), record.Record{Ref: server("gone"), Revision: 1}, []byte("anew"), 2), 0)
		seals(map[uint32]int{2: 1, 3: 1, 1<<32 - 1: 1})
		after := replicaOf(everythingIn(t, s))
		a := after.records[server("a")]
		if string(a.Sealed) != "anew" || a.Revision != old[0].Revision || !a.Changed.Equal(old[0].Changed) || after.head != before.Head+1 {
			t.Errorf("%+v at %d", a, after.head)
		}
		if err = s.Reseal(t.Context(), a, nil, 2); jackfield.CodeOf(err) != jackfield.Internal {
			t.Errorf("with nothing: %v", err)
		}
	})
}

// hinted is where hints of the store come, from some time on.
func hinted(t *testing.T, s *Store) (hints chan struct{}) {
	t.Helper()
	hints = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Hints(ctx, func() { poke(hints) })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return hints
}

// until calls f at each hint until it says so. A test that hangs here has found that
// no hint came.
func until(t *testing.T, hints chan struct{}, f func() bool) {
	t.Helper()
	for deadline := time.After(30 * time.Second); !f(); {
		select {
		case <-hints:
		case <-deadline:
			t.Fatal("no hint came")
		}
	}
}

func TestAWriteIsAHint(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		writer := at(t, o)
		readers := []*Store{writer}
		if o.DSN != "" {
			deaf := o
			deaf.HintDSN = "off"
			writer = at(t, deaf)
			direct := o
			direct.HintDSN, direct.DSN = o.DSN, o.DSN
			readers = append(readers, writer, at(t, direct))
		}
		for _, s := range readers {
			hints := hinted(t, s)
			until(t, hints, func() bool { // it has begun to listen
				write(t, s, put("begin", ""))
				return len(hints) > 0
			})
			r := replicaOf(everythingIn(t, s))
			head := write(t, writer, put("a", ""))[0].Revision
			until(t, hints, func() bool {
				r.ask(t, s)
				return r.head >= head
			})
		}
	})
}

func TestTheCatalogIsKeptOnBothEngines(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		s := at(t, o)
		same(t, load(t, s), catalog.Kept{})
		save(t, s, full())
		s = at(t, reopened(t, s, o))
		same(t, load(t, s), full())
		want := full()
		want.Listings[3].Lists = want.Listings[3].Lists[:1]
		want.Shapes = want.Shapes[:1]
		gone := full().Shapes[1]
		gone.Shape.Version = ""
		save(t, s, keptOf(want.Listings[3], gone))
		same(t, load(t, s), want)
		if o.DSN == "" {
			return
		}
		// Replicas keep the same things at the same time.
		others := []*Store{s, at(t, o), at(t, o)}
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				k := full()
				if i%3 == 0 {
					k.Listings[0].Lists = nil
				}
				if err := others[i%3].Save(t.Context(), k); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		save(t, s, full())
		same(t, load(t, s), full())
	})
}

func keptOf(l catalog.KeptListing, s catalog.KeptShape) catalog.Kept {
	return catalog.Kept{Listings: []catalog.KeptListing{l}, Shapes: []catalog.KeptShape{s}}
}
