package pgtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const childVariable = "JACKFIELD_PGTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		s, err := begin(context.Background())
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString(s.dir + "\n")
		panic("as a test that fails badly")
	}
	os.Exit(m.Run())
}

func TestEachDatabaseIsFreshAndSurvivesStopsAndKills(t *testing.T) {
	s := Start(t)
	if Start(t) != s {
		t.Error("a second cluster")
	}
	first := s.DSN(t)
	s.SQL(t, first, "CREATE TABLE t (n BIGINT)")
	for _, end := range []func(testing.TB){s.Stop, s.Kill} {
		s.SQL(t, first, "INSERT INTO t VALUES (1)")
		end(t)
		s.Start(t)
	}
	if n := s.SQL(t, first, "SELECT count(*) FROM t"); n != "2" {
		t.Errorf("%s rows of 2", n)
	}
	if n := s.SQL(t, s.DSN(t), "SELECT count(*) FROM pg_tables WHERE tablename = 't'"); n != "0" {
		t.Errorf("the second database has the table of the first")
	}
}

func TestTheClusterGoesWithItsProcess(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err == nil || !filepath.IsAbs(dir) {
		t.Fatalf("the child: %v, %q", err, out)
	}
	for end := time.Now().Add(30 * time.Second); ; {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still there", dir)
		}
		<-time.After(10 * time.Millisecond)
	}
}
