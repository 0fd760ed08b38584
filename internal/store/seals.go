package store

import (
	"context"
	"database/sql"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Seals are the ids of the keys in use, with how many records each has sealed.
func (s *Store) Seals(ctx context.Context) (map[uint32]int, error) {
	var all map[uint32]int
	err := s.read(ctx, "nothing was read", func(ctx context.Context, tx *sql.Tx) error {
		all = map[uint32]int{}
		return each(ctx, tx, func(rows *sql.Rows) error {
			var key uint32
			var n int
			err := rows.Scan(&key, &n)
			all[key] = n
			return err
		}, "SELECT seal, count(*) FROM records WHERE sealed IS NOT NULL GROUP BY seal")
	})
	return all, err
}

// SealedWith are records that are sealed with another key than not, at most max.
func (s *Store) SealedWith(ctx context.Context, not uint32, max int) (all []record.Record, err error) {
	err = s.read(ctx, "nothing was read", func(ctx context.Context, tx *sql.Tx) error {
		all, err = records(ctx, tx, 0, "SELECT "+columns+" FROM records WHERE sealed IS NOT NULL AND seal <> $1 LIMIT $2",
			int64(not), int64(min(max, maxWrites)))
		return err
	})
	return all, err
}

// Reseal gives a record the same secrets sealed with another key, unless somebody
// has changed it since r was read. For whoever reads it nothing changes, so it is no
// change of the log.
func (s *Store) Reseal(ctx context.Context, r record.Record, sealed []byte, key uint32) error {
	if len(sealed) == 0 || len(sealed) > maxBody || key == 0 {
		return jackfield.Errorf(jackfield.Internal, "%s %q cannot be sealed anew with %d bytes", r.Kind, r.ID, len(sealed))
	}
	return s.write(ctx, "nothing was sealed anew", 0, func(ctx context.Context, tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "UPDATE records SET sealed = $1, seal = $2 WHERE kind = $3 AND id = $4 AND revision = $5",
			sealed, int64(key), string(r.Kind), r.ID, signed(r.Revision))
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if err != nil || n == 1 {
			return err
		}
		conflict := &record.Conflict{Ref: r.Ref}
		now, err := records(ctx, tx, 0, "SELECT "+columns+" FROM records WHERE kind = $1 AND id = $2", string(r.Kind), r.ID)
		if err != nil {
			return err
		}
		if len(now) == 1 {
			conflict.Current = now[0].Revision
		}
		return conflict.AsError()
	})
}
