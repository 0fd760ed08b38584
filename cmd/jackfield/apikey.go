package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/authn"
)

func (s *shell) keyCommand() *cobra.Command {
	return family("key", "Make and revoke API keys",
		`An API key is what a program or a person sends to the gateway to prove who it is. It
is shown once, when it is made, and kept as a hash.

  jackfield key add laptop                        your own, with what you may
  jackfield key add ci --server github --expires 90d
  jackfield key add bot --user bot --role user --team data     for admins
  jackfield key rm abcde23456                     it works no more, at once`,
		s.keyLsCommand(), s.keyAddCommand(), s.keyRmCommand(), s.keyHashCommand())
}

func (c *client) keys(ctx context.Context) (api.APIKeyList, error) {
	all := api.APIKeyList{Keys: []api.APIKey{}}
	err := pages(ctx, c, place("keys"), nil, func(p api.APIKeyList) api.Page {
		all.Keys = append(all.Keys, p.Keys...)
		return p.Page
	})
	return all, err
}

func (s *shell) keyLsCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List your API keys; for admins, everybody's",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			all, err := c.keys(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(all)
			}
			if len(all.Keys) == 0 {
				fmt.Fprintln(s.out, "There are no API keys. jackfield key add NAME makes one.")
				return nil
			}
			t := table{head: []string{"ID", "NAME", "USER", "ROLE", "TEAMS", "SERVERS", "EXPIRES", "NOTE"}, most: map[int]int{1: 24, 2: 24, 4: 24, 5: 24}}
			for _, k := range all.Keys {
				note := cell{k.Refused, red}
				if k.Refused == "" && k.Source == "file" {
					note = text("in the configuration file")
				}
				t.row(text(orDash(k.ID)), text(k.Name), text(orDash(k.User)), text(orDash(string(k.Role))), text(orDash(strings.Join(k.Teams, ", "))),
					text(cmp.Or(strings.Join(k.Servers, ", "), "all")), expiry(k.ExpiresAt, time.Now()), note)
			}
			s.print(t)
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

// expiry is when a key ends.
func expiry(at *time.Time, now time.Time) cell {
	switch {
	case at == nil:
		return text("never")
	case !at.After(now):
		return cell{"expired", red}
	case at.Sub(now) < 7*day:
		return cell{"in " + duration(at.Sub(now)), yellow}
	}
	return text(at.Local().Format(time.DateOnly))
}

const day = 24 * time.Hour

// moment is when something ends: a date, a time, or how long from now.
func moment(given string, now time.Time) (*time.Time, error) {
	if given == "" || given == "never" {
		return nil, nil
	}
	at, ok := now, true
	count, err := strconv.Atoi(given[:len(given)-1])
	switch unit := given[len(given)-1]; {
	case err == nil && unit == 'd':
		at = now.AddDate(0, 0, count)
	case err == nil && unit == 'w':
		at = now.AddDate(0, 0, 7*count)
	case err == nil && unit == 'y':
		at = now.AddDate(count, 0, 0)
	default:
		at, ok = dated(given, now)
	}
	if !ok {
		return nil, usagef("%q is no time; write how long, such as 90d, 12h or 1y, or a date such as %s", given, now.AddDate(0, 3, 0).Format(time.DateOnly))
	}
	if !at.After(now) {
		return nil, usagef("%q is not in the future", given)
	}
	at = at.UTC().Truncate(time.Second)
	return &at, nil
}

func dated(given string, now time.Time) (time.Time, bool) {
	if d, err := time.ParseDuration(given); err == nil {
		return now.Add(d), true
	}
	if at, err := time.Parse(time.RFC3339, given); err == nil {
		return at, true
	}
	at, err := time.ParseInLocation(time.DateOnly, given, now.Location())
	return at, err == nil
}

func (s *shell) keyAddCommand() *cobra.Command {
	var r reach
	var k api.NewKey
	var role, expires string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make an API key, which is shown once",
		Long: `Makes an API key and prints it, alone on stdout; it is never shown again. NAME says
what it is for. A key has what its user has, or less where flags say so. Without
--user it is yours; of an admin it is somebody of its own, called NAME, with the role
user and no teams where flags do not say more (--user me makes it yours).

  jackfield key add laptop
  jackfield key add ci --server github --server jira --expires 90d
  KEY=$(jackfield key add deploy --role user)`,
		Args:              args(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			k.Name, k.Role = args[0], jackfield.Role(role)
			if k.ExpiresAt, err = moment(expires, time.Now()); err != nil {
				return err
			}
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.addKey(cmd.Context(), c, k)
		},
	}
	r.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&k.User, "user", "", "whose it is, a `SUBJECT`; me is you; others' only for admins")
	f.StringSliceVar(&k.Teams, "team", nil, "a team that it is in, `ID`; can stand several times")
	f.StringVar(&role, "role", "", "at most this `ROLE`: user, editor or admin (default that of its user)")
	f.StringSliceVar(&k.Servers, "server", nil, "only for this server, by `NAME`; can stand several times (default all)")
	f.StringVar(&expires, "expires", "", "when it ends: 90d, 12h, 1y, or a date (default never)")
	complete(cmd, "role", oneOf(roles()...))
	complete(cmd, "team", s.completeTeams(&r, 0))
	complete(cmd, "user", s.completeUsers(&r, 0))
	complete(cmd, "server", s.completeFlagServers(&r))
	return cmd
}

func (s *shell) addKey(ctx context.Context, c *client, k api.NewKey) error {
	var made api.APIKey
	if _, err := c.do(ctx, request{method: http.MethodPost, path: place("keys"), body: k}, &made); err != nil {
		return err
	}
	if s.json {
		return s.printJSON(made)
	}
	fmt.Fprintln(s.out, printable(made.Key))
	what := []string{"It is for " + cmp.Or(made.User, made.Name)}
	if made.Role != "" {
		what = append(what, "as "+string(made.Role))
	}
	if len(made.Teams) > 0 {
		what = append(what, "in "+strings.Join(made.Teams, ", "))
	}
	if len(made.Servers) > 0 {
		what = append(what, "for "+strings.Join(made.Servers, ", ")+" only")
	}
	until := "until it is removed"
	if made.ExpiresAt != nil {
		until = "until " + made.ExpiresAt.Local().Format(time.DateTime)
	}
	colour := s.painter(s.err)
	fmt.Fprintf(s.err, "\nKeep it now: it is not shown again. %s, %s.\n", printable(strings.Join(what, ", ")), until)
	if k.User != "" && k.User != "me" {
		if _, err := c.do(ctx, request{method: http.MethodGet, path: place("users", k.User)}, nil); jackfield.CodeOf(err) == jackfield.NotFound {
			s.warn(fmt.Sprintf("there is no user %s, so whoever comes with it has no name, address or team but the key's; jackfield user add %s makes one", k.User, k.User))
		}
	}
	fmt.Fprintf(s.err, "\n%s\n  export JACKFIELD_TOKEN=…\n", colour(dim, "For this command line"))
	w := welcome{MCP: c.base + "/mcp", Token: true}
	fmt.Fprintf(s.err, "%s\n  claude mcp add --transport http jackfield %s --header \"Authorization: Bearer $JACKFIELD_TOKEN\"\n", colour(dim, "Claude Code"), w.MCP)
	fmt.Fprintf(s.err, "%s\n  %s\n", colour(dim, "Cursor, LibreChat, Claude and others (VS Code: servers in place of mcpServers)"), w.snippet())
	fmt.Fprintf(s.err, "%s\n  jackfield key rm %s\n", colour(dim, "When it is lost"), printable(made.ID))
	return nil
}

func (s *shell) keyRmCommand() *cobra.Command {
	var r reach
	var k consent
	cmd := &cobra.Command{
		Use:               "rm ID",
		Short:             "Revoke an API key: calls and streams that came with it end",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeKeys(&r),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			if name, ok := strings.CutPrefix(args[0], "file:"); ok {
				return jackfield.Errorf(jackfield.Forbidden, "the key %s is in the gateway's configuration file; remove it from auth.keys there", name)
			}
			d := resource{what: "key " + args[0], path: place("keys", args[0]), doc: only("name", "user", "role", "teams", "servers", "expiresAt", "createdAt", "maker")}
			return s.remove(cmd.Context(), c, d, k, "Revoke it?")
		},
	}
	r.flags(cmd)
	k.dryFlags(cmd)
	return cmd
}

func (s *shell) keyHashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash [-]",
		Short: "Make an API key for the configuration file, without a gateway",
		Long: `Makes an API key and the hash that the configuration file keeps of it. With - it is
the hash of a key that you have, read from stdin. No gateway is asked.

  jackfield key hash
  pass jackfield/ci | jackfield key hash -

  auth:
    keys:
      - {name: ci, hash: "sha256:…", role: user, servers: [github]}`,
		Args: args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] != "-" {
				return usagef("keys do not stand on the command line, where others can read them; use - and pipe it in")
			}
			return s.hashKey(len(args) == 1)
		},
	}
}

// hashed is the answer of key hash.
type hashed struct {
	Key  string `json:"key,omitempty"` // a new one
	Hash string `json:"hash"`
}

const leastKey = 32 // characters of a key that somebody made up

func (s *shell) hashKey(given bool) error {
	var h hashed
	if given {
		line, err := bufio.NewReader(io.LimitReader(s.in, maxToken)).ReadString('\n')
		key := strings.TrimSpace(line)
		if err != nil && key == "" {
			return usagef("there is no key on stdin")
		}
		if len(key) < leastKey {
			return usagef("a key needs at least %d characters; jackfield key hash makes a good one", leastKey)
		}
		h.Hash = authn.HashOf(key)
	} else {
		key, _, hash := authn.NewKey()
		h = hashed{key.Reveal(), hash}
	}
	switch {
	case s.json:
		return s.printJSON(h)
	case given:
		fmt.Fprintln(s.out, h.Hash)
		return nil
	}
	fmt.Fprintf(s.out, "key   %s\nhash  %s\n", h.Key, h.Hash)
	fmt.Fprintf(s.err, "\nGive the key to whoever is to use it; it is not shown again. In the configuration:\n\n  auth:\n    keys:\n      - {name: NAME, hash: %q}\n", h.Hash)
	return nil
}
