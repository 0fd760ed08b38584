package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// childVariable makes this test binary a process that only writes.
const childVariable = "JACKFIELD_STORE_CHILD"

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

// writeUntilKilled writes one generation after the other, and says so when one is
// saved.
func writeUntilKilled(dir string) {
	s, err := Open(context.Background(), Options{Dir: dir})
	if err == nil {
		var k catalog.Kept
		k, _, err = s.Load(context.Background())
		n := 0
		if len(k.Listings) > 0 {
			n, _ = strconv.Atoi(k.Listings[0].Lists[0].Fingerprint)
		}
		for err == nil {
			n++
			if err = s.Save(context.Background(), generation(n)); err == nil {
				_, err = os.Stdout.WriteString(strconv.Itoa(n) + "\n")
			}
		}
	}
	_, _ = os.Stderr.WriteString(err.Error())
	os.Exit(1)
}

// TestAKilledProcessLeavesACompleteCatalogBehind kills a process again and again
// while it writes; app kills whole gateways, and more often. The next one finds the whole of one generation each time, and
// never one before the last that was acknowledged.
func TestAKilledProcessLeavesACompleteCatalogBehind(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for d := range directories {
		t.Run(strconv.Itoa(d), func(t *testing.T) {
			t.Parallel()
			killMany(t, exe, t.TempDir())
		})
	}
}

func killMany(t *testing.T, exe, dir string) {
	newest, midway := 0, 0
	for round := range kills {
		acknowledged := killOne(t, exe, dir, newest)
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
func killOne(t *testing.T, exe, dir string, before int) (acknowledged int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	acknowledged = before
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // whatever happens
	defer timer.Stop()
	for first := true; lines.Scan(); first = false {
		if acknowledged, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("it said %q", lines.Text())
		}
		if first {
			timer.Reset(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		}
	}
	_ = cmd.Wait() // killed
	if errs.Len() > 0 {
		t.Fatalf("the child failed: %s", errs.String())
	}
	return acknowledged
}
