package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func (e *edge) logRoute() {
	type asked struct {
		caller
		Since uint64 `query:"since" doc:"only what comes after the change with this number"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
		Last  int    `query:"last" minimum:"1" maximum:"1000" doc:"so many, the newest; instead of limit"`
	}
	handle(e, huma.Operation{
		OperationID: "log", Method: http.MethodGet, Path: "/log", Tags: []string{"changes"},
		Summary:     "What was written to the store, and by whom; for admins",
		Description: "Numbers have no gaps, but that the log is trimmed at its beginning.",
	}, func(ctx context.Context, who jackfield.Principal, in *asked) (*plain[ChangeList], error) {
		if err := adminOnly(who); err != nil {
			return nil, err
		}
		var changes []record.Change
		var err error
		if in.Last > 0 {
			changes, err = e.newestChanges(ctx, in.Since, in.Last)
		} else {
			changes, err = e.ReadLog(ctx, in.Since, in.Limit)
		}
		if err != nil {
			return nil, err
		}
		list := ChangeList{Changes: make([]Change, 0, len(changes)), Next: in.Since}
		for _, c := range changes {
			list.Changes = append(list.Changes, changeOf(c))
			list.Next = c.Number
		}
		return &plain[ChangeList]{list}, nil
	})
}

// newestChanges are the last of the log behind a number, at most so many.
func (h *Handler) newestChanges(ctx context.Context, since uint64, last int) ([]record.Change, error) {
	if h.Events != nil {
		if head := h.Events.newest(); head > uint64(last) {
			since = max(since, head-uint64(last))
		}
	}
	const most = 1000 // at once
	var all []record.Change
	for {
		some, err := h.ReadLog(ctx, since, most)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		all = all[max(0, len(all)-last):]
		if len(some) < most {
			return all, nil
		}
		since = some[len(some)-1].Number
	}
}

func (e *edge) backupRoute() {
	type asked struct{ caller }
	handle(e, huma.Operation{
		OperationID: "backup", Method: http.MethodPost, Path: "/backup", Tags: []string{"state"},
		Summary:     "A backup of the store, as it is now; for admins",
		Description: "The SQLite file. What is secret in it is sealed: it is of no use without the master key, which is not in it.",
		Responses: map[string]*huma.Response{"200": {Description: "the file", Content: map[string]*huma.MediaType{
			"application/vnd.sqlite3": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}},
	}, func(ctx context.Context, who jackfield.Principal, _ *asked) (*stream, error) {
		if err := adminOnly(who); err != nil {
			return nil, err
		}
		return &stream{func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			out := &download{w: w, name: "jackfield-" + time.Now().UTC().Format("20060102T150405Z") + ".db"}
			err := e.Backup(ctx, out)
			switch {
			case err == nil && out.begun:
			case err == nil:
				problem(w, e.problemOf(ctx, base+"/backup", jackfield.Errorf(jackfield.Internal, "the backup is empty")))
			case !out.begun: // an error can still be told as one
				problem(w, e.problemOf(ctx, base+"/backup", err))
			default:
				if e.Log != nil {
					e.Log.WarnContext(ctx, "a backup was not sent whole", slog.Any("error", err))
				}
				panic(http.ErrAbortHandler) // so that nobody takes it for one
			}
		}}, nil
	})
}

// download is an answer that is a file once something of it is there.
type download struct {
	w     http.ResponseWriter
	name  string
	begun bool
}

func (d *download) Write(p []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.w.Header().Set("Content-Type", "application/vnd.sqlite3")
		d.w.Header().Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	}
	return d.w.Write(p)
}
