package authn

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// book is a store in memory that has a Directory read every write.
type book struct {
	*Directory

	mu      sync.Mutex
	records map[record.Ref]record.Record
	head    uint64
	lost    []Lost // what was lost by the last write
}

func newBook(o Options) *book {
	b := &book{records: map[record.Ref]record.Record{}}
	o.Writer = b
	b.Directory = New(o)
	return b
}

func (b *book) Write(_ context.Context, by string, writes ...record.Write) ([]record.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range writes {
		if held := b.records[w.Ref]; !w.Anyway && held.Revision != w.If {
			return nil, (&record.Conflict{Ref: w.Ref, Current: held.Revision}).AsError()
		}
	}
	out := make([]record.Record, len(writes))
	var news record.Batch
	for i, w := range writes {
		b.head++
		held, there := b.records[w.Ref]
		if w.Remove {
			delete(b.records, w.Ref)
			news.Gone = append(news.Gone, w.Ref)
			continue
		}
		r := record.Record{Ref: w.Ref, Body: w.Body, Revision: b.head, Version: held.Version, Created: held.Created, Changed: time.Now(), By: by}
		if !there {
			r.Created = r.Changed
		}
		if w.NewVersion || !there {
			r.Version = b.head
		}
		b.records[w.Ref], out[i] = r, r
		news.Records = append(news.Records, r)
	}
	news.Head = b.head
	b.lost = b.Take(news)
	return out, nil
}

// all is everything, as a process that begins reads it.
func (b *book) all() record.Batch {
	return record.Batch{All: true, Head: b.head, Records: slices.Collect(maps.Values(b.records))}
}

var (
	admin1   = jackfield.Principal{Subject: "admin", Role: jackfield.RoleAdmin}
	anyway   = Condition{Anyway: true}
	context1 = context.Background()
)

// have writes teams and users.
func (b *book) have(t testing.TB, things ...any) {
	t.Helper()
	for _, thing := range things {
		var err error
		switch one := thing.(type) {
		case Team:
			_, err = b.Teams().Put(t.Context(), admin1, one, anyway)
		case User:
			_, err = b.Users().Put(t.Context(), admin1, one, anyway)
		default:
			t.Fatalf("%T", thing)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// key makes a key.
func (b *book) key(t testing.TB, by jackfield.Principal, want Key) (id, text string) {
	t.Helper()
	if want.Name == "" {
		want.Name = "test"
	}
	k, secret, err := b.Keys().Make(t.Context(), by, want)
	if err != nil {
		t.Fatal(err)
	}
	return k.ID, secret.Reveal()
}

func with(headers ...string) *http.Request {
	r := &http.Request{Header: http.Header{}}
	for _, h := range headers {
		r.Header.Add("Authorization", h)
	}
	return r
}

// come is who comes with a key, which must be let in.
func (b *book) come(t testing.TB, text string) jackfield.Principal {
	t.Helper()
	p, err := b.Authenticate(with("Bearer " + text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantCode(t testing.TB, err error, code jackfield.Code) {
	t.Helper()
	if err == nil || jackfield.CodeOf(err) != code {
		t.Errorf("got %v, want an error with the code %v", err, code)
	}
}
