package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// The bounds of what is written.
const (
	maxWrites = 10_000   // at once
	maxAtOnce = 64 << 20 // bytes of all bodies of one Write
	maxBody   = 1 << 20  // bytes, of a body and of a sealed part
	maxID     = 512      // bytes, of an id and of a subject
	maxKind   = 64
)

const (
	keepChanges = 100_000 // newest entries of the log
	trimEvery   = 256     // changes, since removing one by one doubles the work
	maxLog      = 10_000  // entries that Log gives at once
)

// columns are those of a record, as scan reads them.
const columns = "kind, id, body, sealed, seal, revision, version, created, changed, author"

func scan(rows interface{ Scan(...any) error }) (r record.Record, err error) {
	var created, changed int64
	err = rows.Scan(&r.Kind, &r.ID, &r.Body, &r.Sealed, &r.Seal, &r.Revision, &r.Version, &created, &changed, &r.By)
	r.Created, r.Changed = time.UnixMilli(created), time.UnixMilli(changed)
	return r, err
}

// Write does all writes or none, each only if its record has the revision that it
// asks for. The writes take the next numbers of the log in their order, which become
// the revisions of the records.
func (s *Store) Write(ctx context.Context, by string, writes ...record.Write) ([]record.Record, error) {
	if err := checkWrites(by, writes); err != nil {
		return nil, err
	}
	if len(writes) == 0 {
		return nil, nil
	}
	records := make([]record.Record, len(writes))
	within := writeWithin + time.Duration(len(writes))*writeEach
	err := s.writeIn(ctx, within, "nothing was changed", 0, func(ctx context.Context, tx *sql.Tx) error {
		// Whoever has the head writes; all others wait here. So what is read below is
		// what is there at the commit.
		var head uint64
		if err := tx.QueryRowContext(ctx, "UPDATE change_head SET number = number + $1 RETURNING number", int64(len(writes))).Scan(&head); err != nil {
			return err
		}
		first := head - uint64(len(writes)) + 1
		for i := range writes {
			var err error
			if records[i], err = change(ctx, tx, by, first+uint64(i), &writes[i]); err != nil {
				return err
			}
		}
		return s.tidy(ctx, tx, first, head)
	})
	if err != nil {
		return nil, err
	}
	s.hearers.tell()
	return records, nil
}

// tidy ends a transaction that took the numbers from first to head.
func (s *Store) tidy(ctx context.Context, tx *sql.Tx, first, head uint64) error {
	if (first-1)/trimEvery != head/trimEvery && head > s.keep {
		if _, err := tx.ExecContext(ctx, "DELETE FROM change_log WHERE number <= $1", signed(head-s.keep)); err != nil {
			return err
		}
	}
	if s.engine != postgresEngine {
		return nil
	}
	_, err := tx.ExecContext(ctx, "SELECT pg_notify($1, '')", channel)
	return err
}

// change does one write, as the change of that number.
func change(ctx context.Context, tx *sql.Tx, by string, number uint64, w *record.Write) (record.Record, error) {
	var revision, version uint64
	err := tx.QueryRowContext(ctx, "SELECT revision, version FROM records WHERE kind = $1 AND id = $2", string(w.Kind), w.ID).Scan(&revision, &version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return record.Record{}, err
	}
	if !w.Anyway && revision != w.If {
		return record.Record{}, (&record.Conflict{Ref: w.Ref, Current: revision}).AsError()
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO change_log (number, kind, id, gone, at, author) VALUES ($1, $2, $3, $4, now_ms(), $5)",
		signed(number), string(w.Kind), w.ID, truth(w.Remove), by)
	if err != nil {
		return record.Record{}, err
	}
	if w.Remove {
		_, err = tx.ExecContext(ctx, "DELETE FROM records WHERE kind = $1 AND id = $2", string(w.Kind), w.ID)
		return record.Record{}, err
	}
	if w.NewVersion || revision == 0 {
		version = number
	}
	var sealed any // NULL, when nothing is
	if len(w.Sealed) > 0 {
		sealed = w.Sealed
	}
	return scan(tx.QueryRowContext(ctx, `INSERT INTO records (`+columns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, now_ms(), now_ms(), $8) ON CONFLICT (kind, id) DO UPDATE SET
			body = excluded.body, sealed = excluded.sealed, seal = excluded.seal, revision = excluded.revision,
			version = excluded.version, changed = excluded.changed, author = excluded.author
		RETURNING `+columns,
		string(w.Kind), w.ID, nothingNull(w.Body), sealed, int64(w.Seal), signed(number), signed(version), by))
}

func checkWrites(by string, writes []record.Write) error {
	if len(writes) > maxWrites {
		return jackfield.Errorf(jackfield.Invalid, "%d things cannot be changed at once, only %d; change them in parts", len(writes), maxWrites)
	}
	if err := checkText("the name of who changes it", by, maxID); err != nil {
		return err
	}
	all := 0
	seen := make(map[record.Ref]bool, len(writes))
	for i := range writes {
		w := &writes[i]
		if seen[w.Ref] {
			return jackfield.Errorf(jackfield.Invalid, "%s %q cannot be changed twice at once", w.Kind, w.ID)
		}
		seen[w.Ref] = true
		if err := checkWrite(w); err != nil {
			return err
		}
		if all += len(w.Body) + len(w.Sealed); all > maxAtOnce {
			return jackfield.Errorf(jackfield.Invalid, "more than %d MiB cannot be changed at once; change it in parts", maxAtOnce>>20)
		}
	}
	return nil
}

func checkWrite(w *record.Write) error {
	if w.Kind == "" || w.ID == "" {
		return jackfield.Errorf(jackfield.Invalid, "what is written needs a kind and an id")
	}
	if err := checkText("the kind", string(w.Kind), maxKind); err != nil {
		return err
	}
	if err := checkText("the id", w.ID, maxID); err != nil {
		return err
	}
	switch {
	case len(w.Body) > maxBody:
		return jackfield.Errorf(jackfield.Invalid, "%s %q has %d bytes, more than the %d that may be", w.Kind, w.ID, len(w.Body), maxBody)
	case len(w.Sealed) > maxBody:
		return jackfield.Errorf(jackfield.Invalid, "the secrets of %s %q have %d bytes, more than the %d that may be", w.Kind, w.ID, len(w.Sealed), maxBody)
	case len(w.Sealed) > 0 != (w.Seal != 0):
		return jackfield.Errorf(jackfield.Internal, "%s %q is sealed without a key, or has a key with nothing sealed", w.Kind, w.ID)
	}
	return nil
}

// checkText refuses what not every database can write.
func checkText(what, text string, most int) error {
	switch {
	case len(text) > most:
		return jackfield.Errorf(jackfield.Invalid, "%s has %d bytes, more than the %d that may be: %.40q…", what, len(text), most, text)
	case !utf8.ValidString(text):
		return jackfield.Errorf(jackfield.Invalid, "%s is not UTF-8: %.40q", what, text)
	case strings.ContainsRune(text, 0):
		return jackfield.Errorf(jackfield.Invalid, "%s has a zero byte: %.40q", what, text)
	}
	return nil
}

// signed is a number as databases have it.
func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// All is everything that there is.
func (s *Store) All(ctx context.Context) (record.Batch, error) {
	var b record.Batch
	err := s.read(ctx, "nothing was read", func(ctx context.Context, tx *sql.Tx) (err error) {
		b, err = everything(ctx, tx)
		return err
	})
	return b, err
}

func everything(ctx context.Context, tx *sql.Tx) (record.Batch, error) {
	b := record.Batch{All: true}
	var there int // counted first, since a slice that grows takes several times its room
	err := tx.QueryRowContext(ctx, "SELECT number, (SELECT count(*) FROM records) FROM change_head").Scan(&b.Head, &there)
	if err == nil {
		b.Records, err = records(ctx, tx, there, "SELECT "+columns+" FROM records")
	}
	return b, err
}

// records are those of a query, which are about so many.
func records(ctx context.Context, tx *sql.Tx, many int, query string, args ...any) (all []record.Record, err error) {
	all = slices.Grow(all, many)
	err = each(ctx, tx, func(rows *sql.Rows) error {
		r, bad := scan(rows)
		all = append(all, r)
		return bad
	}, query, args...)
	return all, err
}

// Since is what changed after the change of that number: the records as they are now,
// and those that are gone. It is everything when the log does not reach back so far,
// or ends before: then a backup was restored.
func (s *Store) Since(ctx context.Context, number uint64) (record.Batch, error) {
	var b record.Batch
	err := s.read(ctx, "nothing was read", func(ctx context.Context, tx *sql.Tx) (err error) {
		b, err = since(ctx, tx, number)
		return err
	})
	return b, err
}

func since(ctx context.Context, tx *sql.Tx, number uint64) (record.Batch, error) {
	b := record.Batch{}
	var after int64 // how many entries are newer
	err := tx.QueryRowContext(ctx, "SELECT number, (SELECT count(*) FROM change_log WHERE number > $1) FROM change_head", signed(number)).Scan(&b.Head, &after)
	if err != nil || number == b.Head {
		return b, err
	}
	if number > b.Head || b.Head-number != uint64(after) {
		return everything(ctx, tx)
	}
	if b.Records, err = records(ctx, tx, 0, "SELECT "+columns+" FROM records WHERE revision > $1", signed(number)); err != nil {
		return b, err
	}
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var r record.Ref
		bad := rows.Scan(&r.Kind, &r.ID)
		b.Gone = append(b.Gone, r)
		return bad
	}, `SELECT DISTINCT kind, id FROM change_log WHERE number > $1 AND NOT EXISTS
		(SELECT 1 FROM records WHERE records.kind = change_log.kind AND records.id = change_log.id)`, signed(number))
	return b, err
}

// Log is the log after that number, the oldest first, at most max entries.
func (s *Store) Log(ctx context.Context, after uint64, max int) (all []record.Change, err error) {
	err = s.read(ctx, "nothing was read", func(ctx context.Context, tx *sql.Tx) error {
		all = nil
		return each(ctx, tx, func(rows *sql.Rows) error {
			var c record.Change
			var at int64
			bad := rows.Scan(&c.Number, &c.Kind, &c.ID, &c.Gone, &at, &c.By)
			c.At = time.UnixMilli(at)
			all = append(all, c)
			return bad
		}, "SELECT number, kind, id, gone, at, author FROM change_log WHERE number > $1 ORDER BY number LIMIT $2", signed(after), int64(min(max, maxLog)))
	})
	return all, err
}
