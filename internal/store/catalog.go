package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// maxItems is how many bytes of items one list may have. Longer ones are not kept.
const maxItems = 64 << 20

// Save keeps listings and shapes, all of them or none.
func (s *Store) Save(ctx context.Context, k catalog.Kept) error {
	return s.write(ctx, "the catalog was not kept", lockCatalog, func(ctx context.Context, tx *sql.Tx) error {
		for i := range k.Listings {
			if err := saveListing(ctx, tx, &k.Listings[i]); err != nil {
				return err
			}
		}
		for i := range k.Shapes {
			if err := saveShape(ctx, tx, &k.Shapes[i]); err != nil {
				return err
			}
		}
		if len(k.Listings) == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM bodies WHERE NOT EXISTS (SELECT 1 FROM lists WHERE lists.sum = bodies.sum)")
		return err
	})
}

func saveListing(ctx context.Context, tx *sql.Tx, l *catalog.KeptListing) error {
	scope := l.Scope.String()
	if _, err := tx.ExecContext(ctx, "DELETE FROM lists WHERE server = $1 AND scope = $2", string(l.Server), scope); err != nil {
		return err
	}
	for i := range l.Lists {
		list := &l.Lists[i]
		items := encodeItems(list.Items)
		if len(items) > maxItems {
			continue // it is fetched anew
		}
		sum := sha256.Sum256(items)
		if _, err := tx.ExecContext(ctx, "INSERT INTO bodies (sum, items) VALUES ($1, $2) ON CONFLICT (sum) DO NOTHING", sum[:], items); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO lists (server, scope, kind, fingerprint, fetched, ttl, told, public, cut, sum)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			string(l.Server), scope, list.Kind.String(), list.Fingerprint, list.Fetched.UnixMilli(), list.TTL.Milliseconds(),
			truth(list.Told), truth(list.Public), list.Cut, sum[:])
		if err != nil {
			return err
		}
	}
	return nil
}

func saveShape(ctx context.Context, tx *sql.Tx, k *catalog.KeptShape) error {
	if k.Shape.Version == "" {
		_, err := tx.ExecContext(ctx, "DELETE FROM shapes WHERE server = $1", string(k.Server))
		return err
	}
	shape := &k.Shape
	_, err := tx.ExecContext(ctx, `INSERT INTO shapes
			(server, fingerprint, transport, version, keeps_state, capabilities, server_info, instructions)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (server) DO UPDATE SET
			fingerprint = excluded.fingerprint, transport = excluded.transport, version = excluded.version, keeps_state = excluded.keeps_state,
			capabilities = excluded.capabilities, server_info = excluded.server_info, instructions = excluded.instructions`,
		string(k.Server), k.Fingerprint, shape.Transport, shape.Version, truth(shape.Session),
		nothingNull(shape.Capabilities), nothingNull(shape.ServerInfo), shape.Instructions)
	return err
}

// nothingNull is raw, and not NULL when it is empty.
func nothingNull(raw wire.Raw) []byte { return append([]byte{}, raw...) }

// truth is a truth value as every database writes it.
func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Load gives everything that was kept. What cannot be read is left out; bad says
// what and why, and is nil when there is nothing to say.
func (s *Store) Load(ctx context.Context) (kept catalog.Kept, bad, err error) {
	var bads []error
	err = s.read(ctx, "the catalog was not read", func(ctx context.Context, tx *sql.Tx) error {
		kept, bads = catalog.Kept{}, nil
		unread := listings(ctx, tx, &kept, &bads)
		if unread == nil {
			kept.Shapes, unread = shapes(ctx, tx, &bads)
		}
		return unread
	})
	if err != nil {
		return catalog.Kept{}, nil, err
	}
	return kept, errors.Join(bads...), nil
}

func listings(ctx context.Context, tx *sql.Tx, kept *catalog.Kept, bads *[]error) error {
	bodies, err := bodies(ctx, tx)
	if err != nil {
		return err
	}
	return each(ctx, tx, func(rows *sql.Rows) error {
		row := listRow{}
		if err = row.scan(rows); err != nil {
			return err
		}
		scope, list, unreadable := row.decode(bodies)
		if unreadable != nil {
			*bads = append(*bads, fmt.Errorf("%s of %s for %s: %w", row.kind, row.server, row.scope, unreadable))
			return nil
		}
		n := len(kept.Listings)
		if n == 0 || kept.Listings[n-1].Server != jackfield.ServerID(row.server) || kept.Listings[n-1].Scope != scope {
			kept.Listings = append(kept.Listings, catalog.KeptListing{Server: jackfield.ServerID(row.server), Scope: scope})
			n++
		}
		l := &kept.Listings[n-1]
		l.Lists = append(l.Lists, list)
		return nil
	}, `SELECT server, scope, kind, fingerprint, fetched, ttl, told, public, cut, sum
		FROM lists ORDER BY server, scope`)
}

// sum is what a body is known by.
type sum = [sha256.Size]byte

// bodies reads the items of all lists, and splits each once.
func bodies(ctx context.Context, tx *sql.Tx) (map[sum][]wire.Raw, error) {
	all := map[sum][]wire.Raw{}
	err := each(ctx, tx, func(rows *sql.Rows) error {
		var items []byte
		if err := rows.Scan(&items); err != nil {
			return err
		}
		if split, err := decodeItems(items); err == nil {
			all[sha256.Sum256(items)] = split // what rotted has another, which no list asks for
		}
		return nil
	}, "SELECT items FROM bodies")
	return all, err
}

// listRow is a row of lists.
type listRow struct {
	server, scope, kind, fingerprint, cut string
	fetched, ttl                          int64
	told, public                          bool
	sum                                   []byte
}

func (r *listRow) scan(rows *sql.Rows) error {
	return rows.Scan(&r.server, &r.scope, &r.kind, &r.fingerprint, &r.fetched, &r.ttl, &r.told, &r.public, &r.cut, &r.sum)
}

func (r *listRow) decode(bodies map[sum][]wire.Raw) (jackfield.Scope, catalog.KeptList, error) {
	scope, err := decodeScope(r.scope)
	if err != nil {
		return scope, catalog.KeptList{}, err
	}
	kind, err := decodeKind(r.kind)
	if err != nil {
		return scope, catalog.KeptList{}, err
	}
	var name sum
	if copy(name[:], r.sum) != len(name) || len(r.sum) != len(name) {
		return scope, catalog.KeptList{}, errors.New("its sum is none")
	}
	items, ok := bodies[name]
	if !ok {
		return scope, catalog.KeptList{}, errors.New("its items are missing or damaged")
	}
	return scope, catalog.KeptList{
		Kind: kind, Fingerprint: r.fingerprint, Items: items,
		Fetched: time.UnixMilli(r.fetched), TTL: time.Duration(r.ttl) * time.Millisecond,
		Told: r.told, Public: r.public, Cut: r.cut,
	}, nil
}

func shapes(ctx context.Context, tx *sql.Tx, bads *[]error) ([]catalog.KeptShape, error) {
	var all []catalog.KeptShape
	err := each(ctx, tx, func(rows *sql.Rows) error {
		var server, fingerprint string
		var capabilities, info []byte
		shape := exchange.Shape{}
		err := rows.Scan(&server, &fingerprint, &shape.Transport, &shape.Version, &shape.Session, &capabilities, &info, &shape.Instructions)
		if err != nil {
			return err
		}
		if shape.Capabilities, err = decodeJSON(capabilities); err == nil {
			shape.ServerInfo, err = decodeJSON(info)
		}
		if err != nil {
			*bads = append(*bads, fmt.Errorf("shape of %s: %w", server, err))
			return nil
		}
		all = append(all, catalog.KeptShape{Server: jackfield.ServerID(server), Fingerprint: fingerprint, Shape: shape})
		return nil
	}, `SELECT server, fingerprint, transport, version, keeps_state, capabilities, server_info, instructions
		FROM shapes ORDER BY server`)
	return all, err
}

// decodeJSON takes one JSON object, or nothing.
func decodeJSON(b []byte) (wire.Raw, error) {
	if len(b) == 0 {
		return nil, nil
	}
	_, err := wire.ScanObject(b, nil)
	return b, err
}

// encodeItems is the items as one JSON array, byte by byte as they came.
func encodeItems(items []wire.Raw) []byte {
	size := 2
	for _, it := range items {
		size += len(it) + 1
	}
	b := append(make([]byte, 0, size), '[')
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, it...)
	}
	return append(b, ']')
}

// decodeItems is the inverse of encodeItems.
func decodeItems(b []byte) ([]wire.Raw, error) { return wire.SplitArray(b) }

func decodeKind(name string) (catalog.Kind, error) {
	for k := catalog.Tools; k <= catalog.Templates; k++ {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, fmt.Errorf("there is no kind %q", name)
}

// decodeScope is the inverse of Scope.String.
func decodeScope(text string) (jackfield.Scope, error) {
	kind, id, _ := strings.Cut(text, ":")
	for _, s := range []jackfield.Scope{jackfield.App(), jackfield.Team(id), jackfield.User(id)} {
		if s.String() == text {
			return s, nil
		}
	}
	return jackfield.Scope{}, fmt.Errorf("there is no scope of kind %q", kind)
}
