package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/app"
)

func (s *shell) backupCommand() *cobra.Command {
	var r reach
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything that the gateway keeps to a file, while it runs",
		Long: `Writes a copy of the gateway's database (SQLite) to FILE, while it runs and without
stopping anything. The file is readable by its owner alone, and is there whole or
not at all. For admins.

  jackfield backup jackfield-backup.db
  jackfield restore jackfield-backup.db --data DIR    puts it back

What is secret in it is sealed with the master key, which is not in it: keep
master.key of the data directory (or what JACKFIELD_MASTER_KEY holds) elsewhere. A
gateway on PostgreSQL is backed up with pg_dump.`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.backup(cmd.Context(), c, args[0], force)
		},
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE when it is there")
	return cmd
}

// backedUp is the answer of backup.
type backedUp struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

func (s *shell) backup(ctx context.Context, c *client, file string, force bool) error {
	if err := s.mayWrite(file, force); err != nil {
		return err
	}
	resp, err := c.open(ctx, request{method: http.MethodPost, path: place("backup")})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the file is whole by then, or there is none
	in := &counted{from: resp.Body, line: s.live(), whole: resp.ContentLength}
	err = create(file, func(out io.Writer) error {
		head := make([]byte, len(sqliteHead))
		if _, bad := io.ReadFull(in, head); bad != nil || string(head) != sqliteHead {
			return c.stranger()
		}
		if _, bad := out.Write(head); bad != nil {
			return bad
		}
		if _, bad := io.Copy(out, in); bad != nil {
			return jackfield.Errorf(jackfield.Unavailable, "the backup ended too early, after %s; nothing was written: %w", size(in.read), bad)
		}
		return nil
	})
	in.line.clear()
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(backedUp{file, in.read})
	}
	fmt.Fprintf(s.out, "%s holds everything, in %s. Keep the master key elsewhere: without it, what is secret in there opens no more.\n", printable(file), size(in.read))
	return nil
}

// sqliteHead is how a database of SQLite begins.
const sqliteHead = "SQLite format 3\x00"

// mayWrite is an error when a file is there that nobody said to replace.
func (s *shell) mayWrite(file string, force bool) error {
	_, err := os.Lstat(file)
	switch {
	case err == nil && !force:
		return usagef("%s is there already; choose another name, or replace it with --force", file)
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return usagef("%w", err)
}

// create makes a file for its owner alone, which is there whole or not at all.
func create(file string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // 0600
	if err != nil {
		return usagef("%s cannot be written: %w", file, err)
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
	}
	return err
}

// counted is a reader that shows how far it is.
type counted struct {
	from  io.Reader
	line  *live
	whole int64 // bytes in all; less than one: not known
	read  int64
	shown time.Time
}

const showEvery = 200 * time.Millisecond

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.read += int64(n)
	if now := time.Now(); now.Sub(c.shown) >= showEvery {
		c.shown = now
		if c.whole > 0 {
			whole := float64(c.whole)
			c.line.show(progress(float64(c.read), &whole, size(c.read)))
		} else {
			c.line.show(size(c.read))
		}
	}
	return n, err
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return plural(int(n), "byte")
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func (s *shell) restoreCommand() *cobra.Command {
	var data string
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in place, before the gateway is started",
		Long: `Puts a backup into a data directory. The gateway of that directory must not run.
The file is looked at before anything changes. A database that is there already is
kept beside the new one with --force, else nothing is done.

  jackfield restore jackfield-backup.db --data /var/lib/jackfield

The master key that sealed what is secret in the backup has to be in the directory
(master.key) or in JACKFIELD_MASTER_KEY; otherwise the gateway does not start, and
says which one is missing.`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := s.dataDir(data)
			if err != nil {
				return err
			}
			return s.restore(cmd.Context(), args[0], dir, force)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the data `DIRECTORY` of the gateway (JACKFIELD_DATA)")
	cmd.Flags().BoolVar(&force, "force", false, "set a database that is there aside")
	return cmd
}

// restored is the answer of restore.
type restored struct {
	Data  string `json:"data"`
	Aside string `json:"aside,omitempty"` // where the database went that was there
}

func (s *shell) restore(ctx context.Context, file, dir string, force bool) error {
	if err := looksLikeBackup(file); err != nil {
		return err
	}
	if g := s.lookAtGateway(ctx, dir); g.Running {
		return jackfield.Errorf(jackfield.Conflict, "the gateway at %s uses %s; stop it first", g.URL, dir)
	}
	done := restored{Data: dir}
	stop := s.waiting("looking at the backup")
	var err error
	done.Aside, err = app.Restore(ctx, dir, file, force)
	stop()
	switch {
	case jackfield.CodeOf(err) == jackfield.Conflict && !force:
		return jackfield.Errorf(jackfield.Conflict, "%w, or let --force keep it beside the restored one", err)
	case err != nil:
		return err
	}
	if s.json {
		return s.printJSON(done)
	}
	fmt.Fprintf(s.out, "%s is in place; start the gateway with jackfield serve --data %s\n", printable(file), printable(dir))
	if done.Aside != "" {
		fmt.Fprintf(s.out, "The database that was there is %s now.\n", printable(done.Aside))
	}
	return nil
}

// looksLikeBackup is an error when the file is something else.
func looksLikeBackup(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return usagef("%w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	head := make([]byte, len(sqliteHead))
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, []byte(sqliteHead)) {
		return usagef("%s is not a backup of a gateway; jackfield backup makes one", file)
	}
	return nil
}
