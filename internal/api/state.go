package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/authn"
	"github.com/jackfield-dev/jackfield/internal/registry"
)

// exportVersion is the version of the format of an Export.
const exportVersion = 1

func (e *edge) stateRoutes() {
	tags := []string{"state"}
	type asked struct{ caller }
	handle(e, huma.Operation{
		OperationID: "export", Method: http.MethodGet, Path: "/export", Tags: tags,
		Summary:     "Everything that the store keeps, but secrets, in one document; for admins",
		Description: "Teams, users and definitions. Not keys, whose hashes are secrets enough, nor what people entered, nor the configuration file.",
	}, func(_ context.Context, who jackfield.Principal, _ *asked) (*plain[Export], error) {
		if err := adminOnly(who); err != nil {
			return nil, err
		}
		all, err := e.export(who)
		return &plain[Export]{all}, err
	})
	type askedImport struct {
		caller
		DryRun
		RawBody []byte `contentType:"application/json"`
	}
	handle(e, huma.Operation{
		OperationID: "import", Method: http.MethodPost, Path: "/import", Tags: tags,
		Summary: "Take what an export has; for admins", MaxBodyBytes: maxImport, BodyReadTimeout: 5 * time.Minute, SkipValidateBody: true, Metadata: map[string]any{forAdmins: true},
		Description: "Teams first, then users, then definitions. Each is checked as if it came alone, and one that cannot be taken keeps no other from it. " +
			"What is there and not in the document stays.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf[Export](e.huma)}}},
	}, func(ctx context.Context, who jackfield.Principal, in *askedImport) (*plain[ImportResult], error) {
		all, err := readExport(in.RawBody)
		if err != nil {
			return nil, err
		}
		i := &importing{edge: e, who: who, ImportResult: ImportResult{DryRun: in.DryRun.DryRun, Items: []ImportedItem{}}}
		err = i.take(ctx, all)
		return &plain[ImportResult]{i.ImportResult}, err
	})
}

func (e *edge) export(who jackfield.Principal) (Export, error) {
	out := Export{Jackfield: exportVersion, ExportedAt: time.Now().UTC().Truncate(time.Second), Teams: []ExportTeam{}, Users: []ExportUser{}, Definitions: []ExportDefinition{}}
	teams, users := e.People.Teams(), e.People.Users()
	err := each(func(after string) ([]authn.Team, error) { return teams.List(who, after, pageOfAll), nil }, func(t *authn.Team) string {
		out.Teams = append(out.Teams, ExportTeam{ID: t.ID, EditTeam: EditTeam{Title: t.Title, Description: t.Description}})
		return t.ID
	})
	if err == nil {
		err = each(func(after string) ([]authn.User, error) { return users.List(who, after, pageOfAll) }, func(u *authn.User) string {
			out.Users = append(out.Users, ExportUser{Subject: u.Subject, EditUser: editOf(u)})
			return u.Subject
		})
	}
	for _, d := range e.Registry.Definitions(who) {
		if d.Source == registry.FromStore {
			out.Definitions = append(out.Definitions, ExportDefinition{Scope: d.Scope.String(), Name: d.Name, Definition: d.Doc})
		}
	}
	return out, err
}

const pageOfAll = 1000

// each goes through all pages of a list.
func each[T any](list func(after string) ([]T, error), visit func(*T) (id string)) error {
	for after := ""; ; {
		some, err := list(after)
		if err != nil || len(some) == 0 {
			return err
		}
		for i := range some {
			after = visit(&some[i])
		}
	}
}

func editOf(u *authn.User) EditUser {
	return EditUser{Name: u.Name, Email: u.Email, Role: cmp.Or(u.Role, jackfield.RoleUser), Teams: u.Teams, Disabled: u.Disabled}
}

// readExport reads what was exported. A member that is unknown is an error: it would
// be lost.
func readExport(body []byte) (*Export, error) {
	var all Export
	in := json.NewDecoder(bytes.NewReader(body))
	in.DisallowUnknownFields()
	if err := in.Decode(&all); err != nil {
		return nil, jackfield.Errorf(jackfield.Invalid, "this is no export of Jackfield: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	switch {
	case in.More():
		return nil, jackfield.Errorf(jackfield.Invalid, "there is something behind the export")
	case all.Jackfield != exportVersion:
		return nil, jackfield.Errorf(jackfield.Invalid, `the member "jackfield" is %d: this gateway reads version %d`, all.Jackfield, exportVersion)
	}
	return &all, nil
}

// importing is an import under way.
type importing struct {
	*edge
	ImportResult
	who   jackfield.Principal
	bases map[string]bool // of a dry run: names that overlays could be laid over if it were none
}

func (i *importing) take(ctx context.Context, all *Export) error {
	i.bases = map[string]bool{}
	for _, t := range all.Teams {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.team(ctx, t)
	}
	for _, u := range all.Users {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.user(ctx, u)
	}
	for _, d := range all.Definitions {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.definition(ctx, d)
	}
	return nil
}

func (i *importing) team(ctx context.Context, t ExportTeam) {
	now, err := i.People.Teams().Get(i.who, t.ID)
	there := err == nil
	if there && now.Title == t.Title && now.Description == t.Description {
		i.Kept++
		return
	}
	err = nil
	if !i.DryRun {
		_, err = i.People.Teams().Put(ctx, i.who, teamOf(t.ID, t.EditTeam), authn.Condition{If: now.Revision})
	}
	i.item(ImportedItem{Kind: "team", ID: t.ID}, there, err)
}

func (i *importing) user(ctx context.Context, u ExportUser) {
	now, err := i.People.Users().Get(i.who, u.Subject)
	there := err == nil
	slices.Sort(u.Teams)
	u.Role = cmp.Or(u.Role, jackfield.RoleUser)
	if was := editOf(&now); there && slices.Equal(was.Teams, u.Teams) {
		if was.Teams, u.Teams = nil, nil; reflect.DeepEqual(was, u.EditUser) {
			i.Kept++
			return
		}
		u.Teams = now.Teams
	}
	err = nil
	if !i.DryRun {
		_, err = i.People.Users().Put(ctx, i.who, userOf(u.Subject, u.EditUser), authn.Condition{If: now.Revision})
	}
	i.item(ImportedItem{Kind: "user", ID: u.Subject}, there, err)
}

func (i *importing) definition(ctx context.Context, d ExportDefinition) {
	item := ImportedItem{Kind: "server", ID: d.Scope + "/" + d.Name}
	scope, err := parseScope(d.Scope, i.who)
	if err != nil {
		i.item(item, false, err)
		return
	}
	now, err := i.Registry.Definition(i.who, scope, d.Name)
	there := err == nil && now.Source == registry.FromStore
	if there && sameJSON(now.Doc, d.Definition) {
		i.Kept++
		return
	}
	cond := registry.Condition{DryRun: i.DryRun}
	if there {
		cond.If = now.Revision
	}
	_, err = i.put(ctx, i.who, scope, d.Name, d.Definition, cond)
	switch invalid := err != nil && i.problemOf(ctx, base, err).Code == jackfield.Invalid.String(); {
	case err == nil && i.DryRun && scope == jackfield.App():
		i.bases[d.Name] = true
	case invalid && i.bases[d.Name]:
		err = nil // it is checked when there is what it is laid over
	case invalid && bytes.Contains(d.Definition, []byte("[sealed]")):
		item.Outcome = NeedsSecret
	}
	i.item(item, there, err)
}

// item counts what became of an item, and tells it.
func (i *importing) item(item ImportedItem, there bool, err error) {
	switch {
	case err == nil && there:
		item.Outcome = Changed
		i.Changed++
	case err == nil:
		item.Outcome = Added
		i.Added++
	case item.Outcome == NeedsSecret:
		i.Needs++
	default:
		item.Outcome = Refused
		i.Refused++
	}
	if err != nil {
		p := i.problemOf(context.Background(), base+"/import", err)
		item.Detail = p.Detail
		for _, v := range p.Errors {
			item.Errors = append(item.Errors, v.Message)
		}
	}
	i.Items = append(i.Items, item)
}

// sameJSON reports whether two documents say the same.
func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
