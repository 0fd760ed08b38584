package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

// resource is something that the gateway keeps and that is changed as a whole: it is
// looked at, edited, and taken back only while nobody else changed it.
type resource struct {
	what     string // for people
	path     string
	query    url.Values
	previews bool // the gateway says what a change would make of it

	doc  func(*document.Node) *document.Node // what of the answer may be changed
	body func(*document.Node) any            // the body of PUT
	odd  func(*document.Node) []string       // warnings about what it becomes; nil: none
}

// held is a resource as it is now.
type held struct {
	doc   *document.Node
	match string // for If-Match
	body  []byte // the whole answer
}

func (c *client) load(ctx context.Context, r resource) (held, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: r.path, query: r.query}, nil)
	if err != nil {
		return held{}, err
	}
	n, err := parseTree("answer.json", a.body)
	if err != nil || n == nil {
		return held{}, c.stranger()
	}
	return held{doc: r.doc(n), match: a.revision, body: a.body}, nil
}

// put writes a resource, or only says what would be written.
func (c *client) put(ctx context.Context, r resource, doc *document.Node, match string, dry bool) (held, error) {
	query := r.query
	if dry {
		query = url.Values{"dryRun": {"true"}}
		maps.Copy(query, r.query)
	}
	a, err := c.do(ctx, request{method: http.MethodPut, path: r.path, query: query, body: r.body(doc), match: match}, nil)
	if err != nil {
		return held{}, err
	}
	n, err := parseTree("answer.json", a.body)
	if err != nil || n == nil {
		return held{}, c.stranger()
	}
	return held{doc: r.doc(n), match: a.revision, body: a.body}, nil
}

// change edits a resource, shows what that changes, asks, and writes it. When
// somebody else was faster, it shows what they changed and begins again from there.
// It returns what the gateway said; nil: nothing was to be written.
func (s *shell) change(ctx context.Context, c *client, r resource, k consent, edit func(*document.Node) (*document.Node, error)) ([]byte, error) {
	was, err := c.load(ctx, r)
	if err != nil {
		return nil, err
	}
	sent, err := edit(was.doc)
	if err != nil {
		return nil, err
	}
	mine := edits(was.doc, sent)
	for range maxTries {
		done, lost := s.review(ctx, c, r, k, was, sent)
		if !refusedWith(lost, http.StatusPreconditionFailed) {
			return done, lost
		}
		now, gone := c.load(ctx, r)
		if gone != nil {
			return nil, errors.Join(lost, gone)
		}
		fmt.Fprintf(s.err, "Meanwhile somebody else changed %s:\n", printable(r.what))
		s.showEdits(edits(was.doc, now.doc))
		if k.yes || !s.attended() {
			return nil, lost
		}
		if err = s.agreed(ctx, consent{}, "Look at your change again, on top of that?"); err != nil {
			return nil, err
		}
		was = now
		if sent, err = apply(now.doc, mine); err != nil {
			return nil, err
		}
	}
	return nil, jackfield.Errorf(jackfield.Conflict, "%s changes faster than it can be looked at; nothing was written", r.what)
}

// review shows what a change does, asks, and writes it.
func (s *shell) review(ctx context.Context, c *client, r resource, k consent, was held, sent *document.Node) ([]byte, error) {
	now := held{doc: sent}
	if r.previews {
		var err error
		if now, err = c.put(ctx, r, sent, was.match, true); err != nil {
			return nil, err
		}
	}
	all := append(edits(was.doc, now.doc), resealed(was.doc, now.doc, sent)...)
	if len(all) == 0 {
		fmt.Fprintf(s.err, "%s is so already; nothing was changed.\n", printable(r.what))
		return nil, nil
	}
	fmt.Fprintf(s.err, "%s:\n", printable(r.what))
	s.showEdits(all)
	s.warnings(now.body)
	if r.odd != nil {
		s.warn(r.odd(now.doc)...)
	}
	if k.dry {
		return nil, nil
	}
	if err := s.agreed(ctx, k, "Apply?"); err != nil {
		return nil, err
	}
	done, err := c.put(ctx, r, sent, was.match, false)
	return done.body, err
}

// remove shows what goes, and what goes along, asks, and removes it.
func (s *shell) remove(ctx context.Context, c *client, r resource, k consent, question string, along ...string) error {
	was, err := c.load(ctx, r)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "%s:\n", printable(r.what))
	s.showEdits(edits(was.doc, nil))
	s.warn(along...)
	if k.dry {
		return nil
	}
	if err = s.agreed(ctx, k, question); err != nil {
		return err
	}
	if _, err = c.do(ctx, request{method: http.MethodDelete, path: r.path, query: r.query, match: was.match}, nil); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(json.RawMessage(was.body))
	}
	fmt.Fprintf(s.out, "%s is removed.\n", printable(r.what))
	return nil
}

// warnings shows what is odd about a definition.
func (s *shell) warnings(body []byte) {
	n, err := parseTree("answer.json", body)
	if err != nil {
		return
	}
	for _, member := range []string{"problems", "warnings"} {
		if found := field(n, member); found != nil {
			for _, w := range found.Items {
				s.warn(w.Text)
			}
		}
	}
}

func (s *shell) warn(all ...string) {
	for _, w := range all {
		fmt.Fprintf(s.err, "  %s %s\n", s.painter(s.err)(yellow, "!"), printable(w))
	}
}

// only takes the members named, in this order.
func only(names ...string) func(*document.Node) *document.Node {
	return func(n *document.Node) *document.Node {
		out := &document.Node{Kind: document.Map}
		for _, name := range names {
			if v := field(n, name); !v.IsNull() {
				out.Fields = append(out.Fields, document.Field{Key: name, Value: v})
			}
		}
		return out
	}
}

// family is a command that only has others below it.
func family(use, short, long string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := "see " + cmd.CommandPath() + " --help"
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			if near := document.Nearest(args[0], names); near != "" {
				hint = "did you mean " + cmd.CommandPath() + " " + near + "?"
			}
			return usagef("there is no command %q; %s", cmd.CommandPath()+" "+args[0], hint)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(below...)
	return cmd
}
