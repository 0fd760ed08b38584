package main

import (
	"bytes"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield/app"
)

func TestWhatTheStandardLibraryLogsIsForDebugging(t *testing.T) {
	before, flags := slog.Default(), log.Flags()
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(os.Stderr)
		log.SetFlags(flags)
	})
	var out bytes.Buffer
	s := &shell{err: &out}
	s.logger(app.Log{})
	log.Print("Unsolicited response received on idle HTTP channel")
	if out.Len() > 0 {
		t.Errorf("it was shown: %s", &out)
	}
	s.logger(app.Log{Level: slog.LevelDebug})
	log.Print("Unsolicited response received on idle HTTP channel")
	if !strings.Contains(out.String(), `level=DEBUG msg="Unsolicited response received on idle HTTP channel"`) {
		t.Errorf("it was not shown: %s", &out)
	}
}
