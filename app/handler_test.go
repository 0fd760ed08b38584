package app

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// A program that listens itself has what Start does in the background all the same.
func TestAHandlerLives(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{})
	a, err := New(Options{Config: &Config{Data: t.TempDir(), Servers: []jackfield.Server{server("a", s)}}})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(a.Handler())
	defer front.Close()
	for end := time.Now().Add(20 * time.Second); s.Count("tools/list") == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the server is not listed, although nobody has to ask for that")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		t.Error(err)
	}
	a.Handler()
	if a.life.Err() == nil {
		t.Error("a gateway that was stopped lives on")
	}
}
