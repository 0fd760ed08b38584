package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/credentials"
)

// TestManyPeopleChangeAtOnce: what is done for each of very many people at once, while
// all other news wait, is little. Done for each by itself it takes minutes.
func TestManyPeopleChangeAtOnce(t *testing.T) {
	config := &Config{Listen: "127.0.0.1:0"}
	for i := range 3000 {
		config.Servers = append(config.Servers, jackfield.Server{Name: fmt.Sprint("s", i), Endpoint: jackfield.Endpoint{
			Transport: jackfield.TransportHTTP, URL: "http://127.0.0.1:1/mcp",
		}, Usage: jackfield.Usage{RequiresOAuth: true}})
	}
	a, err := New(Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Stop(t.Context()) }()
	var changed []credentials.Changed
	var lost []authn.Lost
	for i := range 100_000 {
		who := fmt.Sprint("u", i)
		changed = append(changed, credentials.Changed{Owner: jackfield.User(who)})
		lost = append(lost, authn.Lost{Subject: who, Reason: "the membership in the team t has ended"})
	}
	began := time.Now()
	a.parts.renew(changed)
	a.parts.lose(lost)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
