package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield/internal/api"
)

func (s *shell) exportCommand() *cobra.Command {
	var r reach
	var force bool
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write everything but secrets as one JSON document",
		Long: `Writes teams, users and definitions as one JSON document, to FILE or stdout. Secrets
are not in it, and neither are keys and what people entered. For admins.

  jackfield export state.json
  jackfield import-state state.json --url https://other.example.com   elsewhere, as to PostgreSQL

A copy of everything, for this gateway, is made by jackfield backup.`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			file := ""
			if len(args) == 1 && args[0] != "-" {
				file = args[0]
			}
			return s.export(cmd.Context(), c, file, force)
		},
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE when it is there")
	return cmd
}

func (s *shell) export(ctx context.Context, c *client, file string, force bool) error {
	if file != "" {
		if err := s.mayWrite(file, force); err != nil {
			return err
		}
	}
	resp, err := c.open(ctx, request{method: http.MethodGet, path: place("export")})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the document is here by then, or it is not
	stop := s.waiting("waiting for the document")
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	stop()
	if err != nil {
		return c.unreachable(err)
	}
	var all api.Export
	if json.Unmarshal(raw, &all) != nil || all.Jackfield == 0 {
		return c.stranger()
	}
	if file == "" {
		_, err = s.out.Write(raw)
		return err
	}
	if err := create(file, func(out io.Writer) error { _, err := out.Write(raw); return err }); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(backedUp{file, int64(len(raw))})
	}
	fmt.Fprintf(s.out, "%s holds %s, %s and %s; secrets are not in it.\n", printable(file),
		plural(len(all.Teams), "team"), plural(len(all.Users), "user"), plural(len(all.Definitions), "definition"))
	return nil
}

const (
	maxDocument = 256 << 20       // bytes of an export
	importIn    = 5 * time.Minute // everything is checked and written
)

func (s *shell) importCommand() *cobra.Command {
	var r reach
	var k consent
	cmd := &cobra.Command{
		Use:   "import-state FILE",
		Short: "Take what jackfield export wrote into a gateway",
		Long: `Takes the teams, users and definitions of a document of jackfield export into a
gateway: what is not there is added, what is different is changed, the rest stays;
nothing is removed. What would happen is shown first. For admins.

  jackfield import-state state.json --dry-run
  jackfield import-state state.json --yes

A definition that holds secrets of its own is not taken: its secrets are not in the
document. Such are listed; add them with jackfield server add.`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.importState(cmd.Context(), c, args[0], k)
		},
	}
	r.flags(cmd)
	k.dryFlags(cmd)
	return cmd
}

func (s *shell) importState(ctx context.Context, c *client, file string, k consent) error {
	src, err := s.readFile(file, maxDocument)
	if err != nil {
		return err
	}
	var head struct {
		Jackfield int `json:"jackfield"`
	}
	if json.Unmarshal(src, &head) != nil || head.Jackfield == 0 {
		return usagef("%s is no document of jackfield export", file)
	}
	result, err := s.postImport(ctx, c, src, true)
	if err != nil {
		return err
	}
	if k.dry && s.json {
		return s.printJSON(result)
	}
	s.showImport(result)
	if k.dry || result.Added+result.Changed == 0 {
		return left(result)
	}
	if err = s.agreed(ctx, k, "Take it?"); err != nil {
		return err
	}
	if result, err = s.postImport(ctx, c, src, false); err != nil {
		return err
	}
	if s.json {
		if err := s.printJSON(result); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(s.out, "%d added, %d changed, %d as they were.\n", result.Added, result.Changed, result.Kept)
	}
	return left(result)
}

// left is an error when something was not taken; it was told already.
func left(r api.ImportResult) error {
	if r.Needs+r.Refused > 0 {
		return &exitError{code: exitFailure}
	}
	return nil
}

func (s *shell) postImport(ctx context.Context, c *client, src []byte, dry bool) (api.ImportResult, error) {
	var query url.Values
	if dry {
		query = url.Values{"dryRun": {"true"}}
	}
	stop := s.waiting("waiting for the gateway")
	defer stop()
	var result api.ImportResult
	_, err := c.do(ctx, request{
		method: http.MethodPost, path: place("import"), query: query, body: json.RawMessage(src), patience: importIn,
	}, &result)
	return result, err
}

// showImport says on stderr what becomes of each item.
func (s *shell) showImport(r api.ImportResult) {
	signs := map[string]cell{
		api.Added: {"+", green}, api.Changed: {"~", yellow}, api.NeedsSecret: {"!", red}, api.Refused: {"!", red}, api.Kept: {"=", ""},
	}
	says := map[string]string{
		api.Added: "added", api.Changed: "changed", api.NeedsSecret: "needs its secrets: not taken", api.Refused: "not taken", api.Kept: "kept",
	}
	if len(r.Items) > 0 {
		t := table{head: []string{"", "KIND", "ID", "WHAT", "WHY"}, most: map[int]int{2: 40}}
		for _, item := range r.Items {
			why := append([]string{}, item.Errors...)
			if item.Detail != "" {
				why = append([]string{item.Detail}, why...)
			}
			t.row(signs[item.Outcome], text(item.Kind), text(item.ID), text(says[item.Outcome]), text(strings.Join(why, "; ")))
		}
		s.printTo(s.err, t)
	}
	fmt.Fprintf(s.err, "%d to add, %d to change, %d as they are, %d need secrets, %d refused.\n", r.Added, r.Changed, r.Kept, r.Needs, r.Refused)
}
