package e2e

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var writePage = flag.Bool("write", false, "write docs/protocol-matrix.md from what the matrix test saw, instead of comparing")

// peer is an SDK in one revision of the protocol.
type peer struct{ sdk, revision string }

var sdks = []string{"go", "ts"}

// speakers is what speaks a revision, as the page names it.
var speakers = map[peer]string{
	{"go", "2024-11-05"}: "go-sdk 1.8.0 over HTTP+SSE",
	{"go", "2025-03-26"}: "go-sdk 1.8.0",
	{"go", "2025-06-18"}: "go-sdk 1.8.0",
	{"go", "2025-11-25"}: "go-sdk 1.8.0",
	{"go", modern}:       "go-sdk 1.8.0",
	{"ts", "2024-11-05"}: "TypeScript SDK 1.9.0 over HTTP+SSE",
	{"ts", "2025-03-26"}: "TypeScript SDK 1.12.3",
	{"ts", "2025-06-18"}: "TypeScript SDK 1.22.0",
	{"ts", "2025-11-25"}: "TypeScript SDK 1.32.2",
	{"ts", modern}:       "TypeScript client and server 2.4.0",
}

// pair is a client and a server.
type pair struct{ client, server peer }

// verdict is how a feature ended for one pair.
type verdict struct {
	mark  mark
	words string // what the user sees instead, or why the peer cannot
}

type mark int

const (
	passes  mark = iota
	instead      // impossible; the words say what the user sees instead, and that was seen
	cannot       // an SDK does not offer it, or not all of it
	absent       // a revision does not have it
)

// Every client visits every server through one gateway, five revisions on either
// side, with the official SDKs that speak them; what each saw is compared with the
// table of features, and the page in docs/ with all of it.
func TestAnyClientReachesAnyServer(t *testing.T) {
	behind := servers{}
	sides := map[peer]string{}
	for _, p := range peers() {
		start := goKitchen
		if p.sdk == "ts" {
			start = tsKitchen
		}
		base, entry := start(t, p.revision)
		entry["serverInstructions"] = true
		behind[p.name()] = entry
		sides[p] = base + "/side/"
	}
	g := serve(t, behind)

	all := map[string]map[pair]verdict{}
	for _, f := range features {
		all[f.key] = map[pair]verdict{}
	}
	failures := 0
	for _, client := range peers() {
		t.Run("client "+client.name(), func(t *testing.T) {
			began := time.Now()
			n, bad := visitAll(t, g, client, sides, all)
			failures += bad
			shown(t, "matrix: client %s: %d of %d features at %d servers as the page says, %.0f s", client.name(), n-bad, n, len(sides), time.Since(began).Seconds())
		})
	}
	t.Run("under final names", func(t *testing.T) { visitUnderFinalNames(t, g, sides) })
	if t.Failed() {
		t.Fatalf("%d features went otherwise than the table of features says: no page is compared", failures)
	}
	comparePage(t, all)
}

// visitAll lets the client visit every server and judges what it saw.
func visitAll(t *testing.T, g *gateway, client peer, sides map[peer]string, all map[string]map[pair]verdict) (n, bad int) {
	t.Helper()
	var visits []visit
	for _, server := range peers() {
		v := visit{URL: g.mcp(server.name()), Side: sides[server], ID: client.name()}
		if client.revision == "2024-11-05" {
			v.URL = g.base + "/sse/" + server.name()
		}
		for _, f := range features {
			if o, known := f.beforehand(pair{client, server}); known {
				all[f.key][pair{client, server}] = o
			} else {
				v.Features = append(v.Features, f.key)
			}
		}
		visits = append(visits, v)
	}
	do := goGuest
	if client.sdk == "ts" {
		do = tsGuest
	}
	for i, seen := range do(t, client.revision, visits) {
		p := pair{client, peers()[i]}
		if why := seen["connect"]; why != "" {
			t.Errorf("client %s cannot connect to server %s: %s", client.name(), p.server.name(), why)
			n, bad = n+1, bad+1
			continue
		}
		for _, f := range features {
			said, tried := seen[f.key]
			if !tried {
				continue
			}
			n++
			o, ok := f.judge(p, said)
			if !ok {
				bad++
				t.Errorf("%s: client %s, server %s: saw %q", f.title, client.name(), p.server.name(), said)
			}
			all[f.key][p] = o
		}
	}
	return n, bad
}

// visitUnderFinalNames lets the go-sdk's client of each revision do at /mcp, where
// all servers are, what needs the names of tools and prompts alone.
func visitUnderFinalNames(t *testing.T, g *gateway, sides map[peer]string) {
	began, n := time.Now(), 0
	// A change of any server's tools is one here, and makes the SDK forget which
	// arguments to repeat in headers.
	elsewhere := []string{"who", "resources", "missing", "completion", "updates", "header"}
	for _, r := range revisions {
		client := peer{"go", r}
		var visits []visit
		for _, server := range peers() {
			v := visit{URL: g.mcp(""), Side: sides[server], ID: client.name() + "-all", Prefix: server.name() + "__"}
			if r == first {
				v.URL = g.base + "/sse"
			}
			for _, f := range features {
				if _, known := f.beforehand(pair{client, server}); !known && !slices.Contains(elsewhere, f.key) {
					v.Features = append(v.Features, f.key)
				}
			}
			visits = append(visits, v)
		}
		for i, seen := range goGuest(t, r, visits) {
			p := pair{client, peers()[i]}
			if why := seen["connect"]; why != "" {
				t.Errorf("client %s cannot connect: %s", client.name(), why)
			}
			for _, f := range features {
				said, tried := seen[f.key]
				if _, ok := f.judge(p, said); tried && !ok {
					t.Errorf("%s: client %s, server %s: saw %q", f.title, client.name(), p.server.name(), said)
				}
			}
			n += len(seen)
		}
	}
	shown(t, "matrix: clients of the go-sdk at /mcp, %d features as at /mcp/{server}, %.0f s", n, time.Since(began).Seconds())
}

func peers() []peer {
	var all []peer
	for _, sdk := range sdks {
		for _, r := range revisions {
			all = append(all, peer{sdk, r})
		}
	}
	return all
}

func (p peer) name() string { return p.sdk + "-" + p.revision }

// beforehand is the verdict that no visit is needed for.
func (f feature) beforehand(p pair) (verdict, bool) {
	if p.server.revision < f.server || p.client.revision < f.client || f.gone != "" && p.server.revision >= f.gone || f.until != "" && p.client.revision > f.until {
		return verdict{mark: absent}, true
	}
	for _, b := range f.but {
		if b.when(p) {
			return verdict{b.mark, b.words}, b.saw == ""
		}
	}
	return verdict{}, false
}

// judge turns what was seen into an verdict. Only what the table expects of this
// pair is one.
func (f feature) judge(p pair, said string) (verdict, bool) {
	for _, b := range f.but {
		if b.when(p) {
			return verdict{b.mark, b.words}, matches(b.saw, said)
		}
	}
	want := f.saw
	if p.client.revision == modern {
		want = cmp.Or(f.modern, want)
	}
	return verdict{mark: passes}, matches(want, said)
}

func matches(pattern, said string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(said)
}

func comparePage(t *testing.T, all map[string]map[pair]verdict) {
	t.Helper()
	file := path("../docs/protocol-matrix.md")
	page := matrixPage(all)
	if *writePage {
		if err := os.WriteFile(file, page, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, page) {
		t.Errorf("docs/protocol-matrix.md is not what was seen. Write it anew with: e2e/run test -run TestAnyClientReachesAnyServer -write\n%s", page)
	}
	n := count(all, features...)
	shown(t, "matrix: %d features in 25 cells: %d pass, %d are impossible and named, %d no SDK can try, %d are in no such revision",
		len(features), n[passes], n[instead], n[cannot], n[absent])
}

// count counts the cells of the features.
func count(all map[string]map[pair]verdict, of ...feature) map[mark]int {
	n := map[mark]int{}
	for _, f := range of {
		for _, c := range revisions {
			for _, s := range revisions {
				n[cellOf(all[f.key], c, s).mark]++
			}
		}
	}
	return n
}

var notInAnchors = regexp.MustCompile(`[^a-z0-9 -]`)

// anchor is the address of a heading within a page.
func anchor(title string) string {
	return strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// cell is what the page says of a client's and a server's revision.
type cell struct {
	mark  mark
	notes []string
}

// cellOf sums up the pairs of SDKs in a cell: the best of them counts, and the notes
// tell of the others.
func cellOf(seen map[pair]verdict, client, server string) cell {
	c := cell{mark: absent}
	for _, cs := range sdks {
		for _, ss := range sdks {
			o := seen[pair{peer{cs, client}, peer{ss, server}}]
			c.mark = min(c.mark, o.mark)
			if o.words != "" && !slices.Contains(c.notes, o.words) {
				c.notes = append(c.notes, o.words)
			}
		}
	}
	return c
}

// matrixPage writes docs/protocol-matrix.md.
func matrixPage(all map[string]map[pair]verdict) []byte {
	var b strings.Builder
	b.WriteString(pageHead)
	b.WriteString("| revision | clients | servers |\n|---|---|---|\n")
	for _, r := range revisions {
		both := speakers[peer{"go", r}] + ", " + speakers[peer{"ts", r}]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r, both, both)
	}
	b.WriteString("\n## At a glance\n\nHow many of the 25 cells. The rest is between revisions of which one does not know the feature.\n\n| feature | passes | impossible | could not be tried |\n|---|---|---|---|\n")
	for _, f := range features {
		n := count(all, f)
		fmt.Fprintf(&b, "| [%s](#%s) | %d | %d | %d |\n", f.title, anchor(f.title), n[passes], n[instead], n[cannot])
	}
	for _, f := range features {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", f.title, f.about)
		b.WriteString("| client ↓ server → |")
		for _, r := range revisions {
			b.WriteString(" " + r + " |")
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(revisions)) + "\n")
		var notes []string
		for _, client := range revisions {
			fmt.Fprintf(&b, "| **%s** |", client)
			for _, server := range revisions {
				c := cellOf(all[f.key], client, server)
				var letters []string
				for _, n := range c.notes {
					if !slices.Contains(notes, n) {
						notes = append(notes, n)
					}
					letters = append(letters, string(rune('a'+slices.Index(notes, n))))
				}
				sign := [...]string{passes: "✓", instead: "✗", cannot: "○", absent: "–"}[c.mark]
				b.WriteString(" " + strings.TrimSpace(sign+" "+strings.Join(letters, " ")) + " |")
			}
			b.WriteByte('\n')
		}
		if len(notes) > 0 {
			b.WriteByte('\n')
		}
		for i, n := range notes {
			fmt.Fprintf(&b, "- **%c**: %s\n", 'a'+i, n)
		}
	}
	return []byte(b.String())
}

const pageHead = `# What passes between which revisions

Any MCP client reaches any MCP server through the gateway, whichever of the five protocol revisions each side speaks. This page says for each feature what passes, and where it cannot, what the user sees instead.

It is written by a test, ` + "`e2e/matrix_test.go`" + `, that lets the official SDKs in each revision meet through the gateway: every client visits every server. The test fails when anything here is not what it saw. What else is to be known is under [rough edges](rough-edges.md#across-eras).

- ✓ passes, with every SDK that offers it on both sides. A letter says what else there is to know.
- ✗ is impossible, because the client's or the server's revision has no words for it. The letter says what the user sees instead, and the test has seen that.
- ○ could not be tried: no SDK of that revision offers it.
- – there is nothing to pass: the server's revision (or the client's) does not know the feature, and nothing is lost.

## Who took part

`
