package store

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/internal/record"
	"github.com/jackfield-dev/jackfield/wire"
)

// childVariable makes this test binary a process that does one thing until it is
// killed; placeVariable says where.
const (
	childVariable = "JACKFIELD_STORE_CHILD"
	placeVariable = "JACKFIELD_STORE_PLACE"
)

// child is the main of such a process.
func child(does string) {
	ctx := context.Background()
	s, err := Open(ctx, placed(os.Getenv(placeVariable)))
	if err == nil {
		switch does {
		case "open":
			err = say("open")
			<-ctx.Done()
		case "catalog":
			err = saveUntilKilled(ctx, s)
		case "records":
			err = writeUntilKilled(ctx, s)
		}
	}
	_, _ = os.Stderr.WriteString(err.Error())
	os.Exit(1)
}

func say(text string) error {
	_, err := os.Stdout.WriteString(text + "\n")
	return err
}

// place is the options as one word.
func place(o Options) string { return cmp.Or(o.DSN.Reveal(), o.Dir) }

func placed(place string) Options {
	if strings.HasPrefix(place, "postgres://") {
		return Options{DSN: jackfield.Secret(place)}
	}
	return Options{Dir: place}
}

// process is a child that runs.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	errs  strings.Builder
}

func start(t *testing.T, does string, o Options) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.CommandContext(t.Context(), exe)}
	p.cmd.Env = append(os.Environ(), childVariable+"="+does, placeVariable+"="+place(o))
	p.cmd.Stderr = &p.errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	return p
}

func (p *process) kill() { _ = p.cmd.Process.Kill() } // it may be gone

// wait waits for the end of a child that is killed.
func (p *process) wait(t *testing.T) {
	t.Helper()
	_ = p.cmd.Wait() // it was killed
	if p.errs.Len() > 0 {
		t.Fatalf("the child failed: %s", p.errs.String())
	}
}

const (
	directories = 2
	kills       = 10 // of processes that write to one directory
	servers     = 6
)

// generation is everything that all servers list, each thing with the generation
// in its name.
func generation(n int) catalog.Kept {
	var k catalog.Kept
	for s := range servers {
		id := jackfield.ServerID(fmt.Sprint("s", s))
		l := catalog.KeptListing{Server: id}
		for kind := catalog.Tools; kind <= catalog.Templates; kind++ {
			list := catalog.KeptList{Kind: kind, Fingerprint: strconv.Itoa(n), Fetched: time.UnixMilli(int64(n))}
			for i := range 5 + n%7 {
				list.Items = append(list.Items, wire.Raw(fmt.Sprintf(`{"name":"g%d_%d","d":%q}`, n, i, strings.Repeat("x", 50*s))))
			}
			l.Lists = append(l.Lists, list)
		}
		k.Listings = append(k.Listings, l)
		k.Shapes = append(k.Shapes, catalog.KeptShape{
			Server: id, Fingerprint: strconv.Itoa(n), Shape: exchange.Shape{Version: "v", Instructions: strconv.Itoa(n)},
		})
	}
	return k
}

// saveUntilKilled saves one generation after the other, and says so when one is
// saved.
func saveUntilKilled(ctx context.Context, s *Store) error {
	k, _, err := s.Load(ctx)
	n := 0
	if len(k.Listings) > 0 {
		n, _ = strconv.Atoi(k.Listings[0].Lists[0].Fingerprint)
	}
	for err == nil {
		n++
		if err = s.Save(ctx, generation(n)); err == nil {
			err = say(strconv.Itoa(n))
		}
	}
	return err
}

// TestAKilledProcessLeavesACompleteCatalogBehind kills a process again and again
// while it writes; app kills whole gateways, and more often. The next one finds the whole of one generation each time, and
// never one before the last that was acknowledged.
func TestAKilledProcessLeavesACompleteCatalogBehind(t *testing.T) {
	for d := range directories {
		t.Run(strconv.Itoa(d), func(t *testing.T) {
			t.Parallel()
			killMany(t, t.TempDir())
		})
	}
}

func killMany(t *testing.T, dir string) {
	newest, midway := 0, 0
	for round := range kills {
		acknowledged := killOne(t, dir, newest)
		s := opened(t, dir)
		kept := load(t, s)
		found := 0
		if len(kept.Listings) > 0 {
			found, _ = strconv.Atoi(kept.Listings[0].Lists[0].Fingerprint)
			same(t, kept, generation(found))
		}
		if found < acknowledged {
			t.Fatalf("round %d: found generation %d, though %d was acknowledged", round, found, acknowledged)
		}
		if found > acknowledged {
			midway++ // committed, and killed before it could say so
		}
		newest = found
		closed(t, s)
		if t.Failed() {
			t.FailNow()
		}
	}
	if newest < kills {
		t.Errorf("only %d generations were written, so nothing was interrupted", newest)
	}
	t.Logf("%d kills, %d generations; %d times a kill fell between a commit and its acknowledgement", kills, newest, midway)
}

// killOne starts a process that writes, kills it in the middle of that and returns
// the newest generation that it said was saved.
func killOne(t *testing.T, dir string, before int) (acknowledged int) {
	t.Helper()
	p := start(t, "catalog", Options{Dir: dir})
	acknowledged = before
	timer := time.AfterFunc(time.Minute, p.kill) // whatever happens
	defer timer.Stop()
	for first := true; p.lines.Scan(); first = false {
		var err error
		if acknowledged, err = strconv.Atoi(p.lines.Text()); err != nil {
			t.Errorf("it said %q", p.lines.Text())
		}
		if first {
			timer.Reset(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		}
	}
	p.wait(t)
	return acknowledged
}

// writeUntilKilled makes records, four at a time, and says the revision and the id of
// each that is made.
func writeUntilKilled(ctx context.Context, s *Store) error {
	b, err := s.All(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for i := range 4 {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d/%d/%d", b.Head, i, n)
				r, err := s.Write(ctx, "ann", record.Write{Ref: server(id), Body: []byte(id)}, record.Write{Ref: server("newest"), Anyway: true})
				if err == nil {
					err = say(fmt.Sprint(r[0].Revision, " ", id))
				}
				if err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// TestAKillDuringAThousandWritesLosesNothingAcknowledged kills writers again and
// again, each after a number of writes that it has acknowledged.
func TestAKillDuringAThousandWritesLosesNothingAcknowledged(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		closed(t, at(t, o))
		acknowledged := map[string]uint64{}
		killed := 0
		for ; len(acknowledged) < 1000; killed++ {
			p := start(t, "records", o)
			timer := time.AfterFunc(time.Minute, p.kill) // whatever happens
			for left := 1 + rand.IntN(300); p.lines.Scan(); left-- {
				revision, id, _ := strings.Cut(p.lines.Text(), " ")
				n, err := strconv.ParseUint(revision, 10, 64)
				if err != nil {
					t.Fatalf("it said %q", p.lines.Text())
				}
				acknowledged[id] = n
				if left == 0 {
					p.kill()
				}
			}
			timer.Stop()
			p.wait(t)
		}
		s := at(t, o)
		there := replicaOf(everythingIn(t, s))
		for id, revision := range acknowledged {
			if r := there.records[server(id)]; r.Revision != revision || string(r.Body) != id {
				t.Errorf("%s was acknowledged as %d: %+v", id, revision, r)
			}
		}
		if made := len(gapless(t, s)) / 2; made != len(there.records)-1 {
			t.Errorf("%d were made, and %d are there", made, len(there.records)-1)
		}
		t.Logf("%d kills, %d acknowledged, %d there", killed, len(acknowledged), len(there.records)-1)
	})
}

// TestAMigrationThatIsKilledIsDoneByTheNextProcess kills processes while they bring a
// store of the first form, or one with nothing in it, to the newest, at moments that
// are spread over the time that one takes.
func TestAMigrationThatIsKilledIsDoneByTheNextProcess(t *testing.T) {
	const moments = 10
	onBoth(t, func(t *testing.T, o Options) {
		begin := time.Now()
		p := start(t, "open", o)
		if !p.lines.Scan() {
			t.Fatal("it does not open")
		}
		takes := time.Since(begin)
		p.kill()
		p.wait(t)
		midway := 0
		for moment := range moments {
			next := postgresOr(t, o)
			if next.Dir != "" && moment%2 == 0 {
				older(t, next.Dir)
			}
			p := start(t, "open", next)
			timer := time.AfterFunc(takes*time.Duration(moment+1)/moments, p.kill)
			if !p.lines.Scan() {
				midway++
			}
			timer.Stop()
			p.kill()
			p.wait(t)
			s := at(t, next)
			if next.Dir != "" && moment%2 == 0 {
				same(t, load(t, s), full())
			}
			if r := write(t, s, put("a", "")); r[0].Revision != 1 {
				t.Errorf("%+v", r)
			}
			closed(t, s)
		}
		t.Logf("opening takes %v; %d of %d were killed before they had done it", takes, midway, moments)
	})
}

// postgresOr is a new store of the same engine.
func postgresOr(t *testing.T, o Options) Options {
	if o.DSN != "" {
		return postgres(t)
	}
	return Options{Dir: t.TempDir()}
}

// TestAMigrationThatIsKilledInItsMiddleFreesTheLock: a table that somebody else is
// making holds the migration up exactly there.
func TestAMigrationThatIsKilledInItsMiddleFreesTheLock(t *testing.T) {
	o := postgres(t)
	config, err := parseDSN(o.DSN)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	other, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = other.ExecContext(t.Context(), "CREATE TABLE change_log (x BIGINT)"); err != nil {
		t.Fatal(err)
	}
	waiting := func(query string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; {
			var n int
			if bad := db.QueryRowContext(t.Context(), query).Scan(&n); bad != nil || time.Now().After(deadline) {
				t.Fatalf("nobody waits: %v", bad)
			}
			if n > 0 {
				return
			}
		}
	}
	p := start(t, "open", o)
	waiting("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
	opened := make(chan error, 1)
	go func() {
		s, bad := Open(t.Context(), o)
		if bad == nil {
			bad = s.Close()
		}
		opened <- bad
	}()
	p.kill()
	p.wait(t)
	// The next one has the lock, while what is left of the first still waits.
	waiting("SELECT count(*) - 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
	if err = other.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err = <-opened; err != nil {
		t.Errorf("the next process: %v", err)
	}
	write(t, at(t, o), put("a", ""))
}
