package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// memory is a store in memory: it implements record.Writer as the real one does, and
// hands what was written to take before a write returns.
type memory struct {
	take func(record.Batch)

	mu      sync.Mutex
	records map[record.Ref]record.Record
	log     []record.Change
	trimmed int   // entries that the log has no more
	broken  error // what every write and read of the log fails with
}

func (m *memory) Write(_ context.Context, by string, writes ...record.Write) ([]record.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	if m.records == nil {
		m.records = map[record.Ref]record.Record{}
	}
	for _, w := range writes {
		if now := m.records[w.Ref].Revision; !w.Anyway && now != w.If {
			return nil, (&record.Conflict{Ref: w.Ref, Current: now}).AsError()
		}
	}
	batch := record.Batch{}
	out := make([]record.Record, len(writes))
	for i, w := range writes {
		n := uint64(len(m.log) + 1)
		old, there := m.records[w.Ref]
		if w.Remove && !there {
			continue
		}
		m.log = append(m.log, record.Change{Number: n, Ref: w.Ref, Gone: w.Remove, At: time.Now(), By: by})
		if w.Remove {
			delete(m.records, w.Ref)
			batch.Gone = append(batch.Gone, w.Ref)
			continue
		}
		r := record.Record{Ref: w.Ref, Body: w.Body, Sealed: w.Sealed, Seal: w.Seal, Revision: n, Version: old.Version, Created: old.Created, Changed: time.Now(), By: by}
		if !there {
			r.Created = r.Changed
		}
		if !there || w.NewVersion {
			r.Version = n
		}
		m.records[w.Ref], out[i] = r, r
		batch.Records = append(batch.Records, r)
	}
	batch.Head = uint64(len(m.log))
	m.take(batch)
	return out, nil
}

func (m *memory) readLog(_ context.Context, since uint64, most int) ([]record.Change, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return nil, m.broken
	}
	from := min(max(int(since), m.trimmed), len(m.log))
	return slices.Clone(m.log[from:min(from+most, len(m.log))]), nil
}

// bare seals nothing: what it makes is the text with what it is bound to in front.
type bare struct{}

func (bare) Seal(bind string, plain []byte) ([]byte, uint32, error) {
	return append([]byte(bind+"\x00"), plain...), 1, nil
}

func (bare) Open(bind string, sealed []byte, _ uint32) ([]byte, error) {
	plain, ok := cutPrefix(sealed, bind+"\x00")
	if !ok {
		return nil, jackfield.Errorf(jackfield.Internal, "sealed for something else")
	}
	return plain, nil
}

func cutPrefix(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil, false
	}
	return b[len(prefix):], true
}
