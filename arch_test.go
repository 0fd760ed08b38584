package jackfield_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/jackfield-dev/jackfield"

// room is what a package may open: which of our packages it may import, and
// whether it reaches anything beyond the standard library.
type room struct {
	doors   []string // our packages that it may import; "*" is all of them
	outside bool     // it may reach packages of others
	testing bool     // only tests may import it
}

// words are what every part may know.
var words = []string{"", "wire", "exchange"}

// rooms is the table of docs/ARCHITECTURE.md. Rooms that are not built yet may
// be missing from the tree; a package that is missing here may not be in it.
var rooms = map[string]room{
	"":         {},
	"wire":     {},
	"exchange": {doors: []string{"wire"}},

	// The parts know the words and not one another.
	"pool":        {doors: []string{""}},
	"connections": {doors: append([]string{"pool"}, words...)},
	"upstream":    {doors: words},
	"catalog":     {doors: words},
	"oauth":       {doors: words, outside: true},

	// The front of the library, and what is in front of it.
	"broker":  {doors: append([]string{"pool", "connections", "catalog", "internal/alarm"}, words...)},
	"gateway": {doors: append([]string{"broker", "internal/alarm"}, words...)},

	// The only place that wires.
	"app":           {doors: []string{"*"}, outside: true},
	"bench":         {doors: append([]string{"app", "pool"}, words...), outside: true},
	"eras":          {testing: true}, // nothing but tests
	"cmd/jackfield": {doors: append([]string{"app", "upstream", "internal/api", "internal/authn", "internal/demo", "internal/registry/document"}, words...), outside: true},

	"internal/alarm":               {},
	"internal/record":              {doors: []string{""}},
	"internal/registry/scopecases": {doors: []string{""}, testing: true},
	"internal/registry":            {doors: append([]string{"internal/record", "internal/registry/document"}, words...), outside: true},
	"internal/registry/document":   {outside: true},
	"internal/credentials":         {doors: append([]string{"internal/record"}, words...)},
	"internal/policy":              {doors: words, outside: true},
	"internal/authn":               {doors: append([]string{"internal/record"}, words...), outside: true},
	"internal/egress":              {doors: words, outside: true},
	"internal/store":               {doors: append([]string{"catalog", "internal/record"}, words...), outside: true},
	"internal/pgtest":              {testing: true},
	"internal/seal":                {doors: append([]string{"internal/record"}, words...), outside: true},
	"internal/cluster":             {doors: words, outside: true},
	"internal/api": {
		doors:   append([]string{"pool", "catalog", "broker", "internal/authn", "internal/credentials", "internal/record", "internal/registry"}, words...),
		outside: true,
	},
	"internal/console":      {doors: append([]string{"pool", "catalog", "broker"}, words...)},
	"internal/telemetry":    {doors: []string{"*"}, outside: true},
	"internal/demo":         {doors: words, outside: true},
	"internal/upstreamtest": {doors: words, testing: true},
	"faults":                {testing: true},
	"tenants":               {testing: true}, // nothing but tests
}

// adapters are imported by app and by nothing else.
var adapters = []string{"internal/store", "internal/cluster", "internal/telemetry"}

type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// goList lists every package of the module and all that they reach.
func goList(t *testing.T) (own []listed, all map[string]listed) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,Deps", "./...")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	all = map[string]listed{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return own, all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
		if isOurs(p.ImportPath) {
			own = append(own, p)
		}
	}
}

func isOurs(importPath string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

func roomName(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func TestRoomsOpenOnlyTheirOwnDoors(t *testing.T) {
	own, _ := goList(t)
	for _, p := range own {
		name := roomName(p.ImportPath)
		r, ok := rooms[name]
		if !ok {
			t.Errorf("%s is not in the table of rooms: see docs/ARCHITECTURE.md", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			door := roomName(i)
			switch {
			case !isOurs(i):
			case !slices.Contains(r.doors, "*") && !slices.Contains(r.doors, door):
				t.Errorf("%s imports %s, which the table of rooms does not allow", p.ImportPath, i)
			case rooms[door].testing:
				t.Errorf("%s imports %s, which is for tests", p.ImportPath, i)
			case slices.Contains(adapters, door) && name != "app":
				t.Errorf("%s imports %s; only app may", p.ImportPath, i)
			}
		}
	}
}

func TestRoomsReachOnlyTheStandardLibraryUnlessTheTableSaysMore(t *testing.T) {
	own, all := goList(t)
	for _, p := range own {
		if rooms[roomName(p.ImportPath)].outside {
			continue
		}
		for _, d := range p.Deps {
			if !isOurs(d) && !all[d].Standard {
				t.Errorf("%s reaches %s", p.ImportPath, d)
			}
		}
	}
}

// TestRoomsArePublicToTheLastType holds every exported API to types that an
// embedder can name: a public package that imports an internal one, as app does,
// may not show its types.
func TestRoomsArePublicToTheLastType(t *testing.T) {
	own, _ := goList(t)
	for _, p := range own {
		if name := roomName(p.ImportPath); strings.HasPrefix(name, "internal/") || strings.HasPrefix(name, "cmd/") {
			continue
		}
		for _, file := range parse(t, p) {
			hidden := map[string]bool{}
			for _, i := range file.Imports {
				if from := strings.Trim(i.Path.Value, `"`); strings.HasPrefix(from, module+"/internal/") {
					name := path.Base(from)
					if i.Name != nil {
						name = i.Name.Name
					}
					hidden[name] = true
				}
			}
			for _, shown := range exportedTypes(file) {
				ast.Inspect(shown, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := s.X.(*ast.Ident); ok && hidden[x.Name] {
							t.Errorf("%s shows %s.%s, which nobody outside can name", p.ImportPath, x.Name, s.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
}

// exportedTypes returns the type expressions that a file shows: signatures of
// exported functions and methods, exported fields and methods of exported types,
// types of exported variables.
func exportedTypes(file *ast.File) []ast.Node {
	var shown []ast.Node
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
				shown = append(shown, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						shown = append(shown, exportedParts(s.Type)...)
					}
				case *ast.ValueSpec:
					if s.Type != nil && slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
						shown = append(shown, s.Type)
					}
				}
			}
		}
	}
	return shown
}

func exportedReceiver(recv *ast.FieldList) bool {
	exported := false
	ast.Inspect(recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			exported = id.IsExported()
			return false
		}
		return true
	})
	return exported
}

func exportedParts(expr ast.Expr) []ast.Node {
	s, ok := expr.(*ast.StructType)
	if !ok {
		return []ast.Node{expr}
	}
	var parts []ast.Node
	for _, f := range s.Fields.List {
		if len(f.Names) == 0 || slices.ContainsFunc(f.Names, (*ast.Ident).IsExported) {
			parts = append(parts, f.Type)
		}
	}
	return parts
}

func parse(t *testing.T, p listed) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// withSessions are the faces, the servers made for tests and demonstration,
// broker, which ends what a face's session has open, and app, which is told how
// many there may be.
var withSessions = []string{"gateway", "upstream", "broker", "app", "internal/demo", "internal/upstreamtest"}

var (
	unsaid  = regexp.MustCompile(`(?i)manager|service|helper|util|common`)
	session = regexp.MustCompile(`(?i)session`)
)

// TestHouseWordsAreKept: the words that say nothing name no package and no type,
// and sessions exist in the faces, where the protocol has them, and nowhere else.
func TestHouseWordsAreKept(t *testing.T) {
	own, _ := goList(t)
	for _, p := range own {
		name := roomName(p.ImportPath)
		if unsaid.MatchString(name) {
			t.Errorf("the package %s has a name that does not say what it is for", name)
		}
		faces := slices.Contains(withSessions, name)
		for _, file := range parse(t, p) {
			ast.Inspect(file, func(n ast.Node) bool {
				s, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if unsaid.MatchString(s.Name.Name) || !faces && session.MatchString(s.Name.Name) {
					t.Errorf("%s: the type %s has a word in it that the glossary does not have", name, s.Name.Name)
				}
				return true
			})
		}
	}
}

// TestHouseFilesStayReadable: no file beyond 700 lines, no function beyond 80.
// Both are generous; what needs more wants to be two things.
func TestHouseFilesStayReadable(t *testing.T) {
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != "." || d.Name() == "node_modules"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(file, ".go"):
			return nil
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		lines := func(n ast.Node) int { return set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1 }
		if n := set.Position(parsed.FileEnd).Line; n > 700 {
			t.Errorf("%s has %d lines", file, n)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && lines(f) > 80 && !strings.HasSuffix(file, "_test.go") {
				t.Errorf("%s: %s has %d lines", file, f.Name.Name, lines(f))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
