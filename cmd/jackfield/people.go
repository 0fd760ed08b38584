package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/registry/document"
)

func (s *shell) whoamiCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "whoami",
		Short: "Say who you are to the gateway, and what you may",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			var me api.Me
			if err := c.get(cmd.Context(), place("me"), &me); err != nil {
				return err
			}
			if s.json {
				return s.printJSON(me)
			}
			s.sayWho(me)
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

func (s *shell) sayWho(me api.Me) {
	colour := s.painter(s.out)
	say := func(what, value string) {
		if value != "" {
			fmt.Fprintf(s.out, "%s %s\n", colour(dim, fmt.Sprintf("%-9s", what)), printable(value))
		}
	}
	fmt.Fprintln(s.out, colour(bold, printable(me.Subject)))
	say("name", me.Name)
	say("email", me.Email)
	say("role", string(me.Role)+map[jackfield.Role]string{
		jackfield.RoleUser:   ": your own servers, variables and keys",
		jackfield.RoleEditor: ": your own things, and the servers of your teams",
		jackfield.RoleAdmin:  ": everything",
	}[me.Role])
	if me.Operator {
		say("", "and you run the gateway: programs and private addresses may be defined")
	}
	say("teams", cmp.Or(strings.Join(me.Teams, ", "), "none"))
	say("key", me.Key)
	say("servers", strings.Join(me.Servers, ", "))
	say("edits", strings.Join(me.Edits, ", "))
}

func (s *shell) teamCommand() *cobra.Command {
	return family("team", "Define teams, and who is in them",
		`A team sees the servers that are its own (scope team:ID) and what is laid over others
for it. Teams are made and filled by admins.

  jackfield team add data --title "Data platform"
  jackfield team join data alice
  jackfield team show data`,
		s.teamLsCommand(), s.teamShowCommand(), s.teamAddCommand(), s.teamEditCommand(), s.teamRmCommand(),
		s.memberCommand("join", http.MethodPut, "Put somebody into a team", "is in"),
		s.memberCommand("leave", http.MethodDelete, "Take somebody out of a team; what the team sees is gone for them at once", "is no more in"))
}

func (c *client) teams(ctx context.Context) (api.TeamList, error) {
	all := api.TeamList{Teams: []api.Team{}}
	err := pages(ctx, c, place("teams"), nil, func(p api.TeamList) api.Page {
		all.Teams = append(all.Teams, p.Teams...)
		return p.Page
	})
	return all, err
}

func (s *shell) teamLsCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the teams",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			all, err := c.teams(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(all)
			}
			if len(all.Teams) == 0 {
				fmt.Fprintln(s.out, "There are no teams. jackfield team add ID makes one.")
				return nil
			}
			t := table{head: []string{"TEAM", "TITLE", "DESCRIPTION"}, most: map[int]int{0: 30, 1: 30}}
			for _, v := range all.Teams {
				t.row(text(v.ID), text(orDash(v.Title)), text(v.Description))
			}
			s.print(t)
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

func (s *shell) teamShowCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:               "show ID",
		Short:             "Show a team and who is in it",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeTeams(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			return s.showTeam(cmd.Context(), c, args[0])
		},
	}
	r.flags(cmd)
	return cmd
}

// teamAndMembers is the answer of team show.
type teamAndMembers struct {
	api.Team
	Members []api.Member `json:"members"`
}

func (s *shell) showTeam(ctx context.Context, c *client, id string) error {
	t := teamAndMembers{Members: []api.Member{}}
	if err := c.get(ctx, place("teams", id), &t.Team); err != nil {
		return err
	}
	err := pages(ctx, c, place("teams", id, "members"), nil, func(p api.MemberList) api.Page {
		t.Members = append(t.Members, p.Members...)
		return p.Page
	})
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(t)
	}
	colour := s.painter(s.out)
	fmt.Fprintln(s.out, colour(bold, printable(t.ID)))
	for _, line := range []string{t.Title, t.Description} {
		if line != "" {
			fmt.Fprintln(s.out, printable(line))
		}
	}
	fmt.Fprintln(s.out)
	if len(t.Members) == 0 {
		fmt.Fprintf(s.out, "Nobody is in it. jackfield team join %s SUBJECT puts somebody in.\n", shellWord(t.ID))
		return nil
	}
	members := table{head: []string{"MEMBER", "NAME", "EMAIL", "ROLE"}, most: map[int]int{0: 30, 1: 30, 2: 30}}
	for _, m := range t.Members {
		members.row(text(m.Subject), text(orDash(m.Name)), text(orDash(m.Email)), text(cmp.Or(string(m.Role), string(jackfield.RoleUser))))
	}
	s.print(members)
	return nil
}

// create makes something over the API and says so, or how what is there is changed.
func (s *shell) create(ctx context.Context, r reach, path string, body any, what, change, done string) error {
	c, err := s.client(r)
	if err != nil {
		return err
	}
	a, err := c.do(ctx, request{method: http.MethodPost, path: path, body: body}, nil)
	if err != nil {
		return there(err, what, change)
	}
	if s.json {
		return s.printJSON(json.RawMessage(a.body))
	}
	fmt.Fprintln(s.out, printable(done))
	return nil
}

func (s *shell) teamAddCommand() *cobra.Command {
	var r reach
	var t api.NewTeam
	cmd := &cobra.Command{
		Use:               "add ID",
		Short:             "Make a team",
		Args:              args(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			t.ID = args[0]
			return s.create(cmd.Context(), r, place("teams"), t, "team "+t.ID, "jackfield team edit "+shellWord(t.ID),
				"There is a team "+t.ID+" now. jackfield team join "+shellWord(t.ID)+" SUBJECT puts somebody in.")
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&t.Title, "title", "", "what people see instead of the id")
	cmd.Flags().StringVar(&t.Description, "description", "", "who they are, in a sentence")
	return cmd
}

// teamResource is a team as it is edited.
func teamResource(id string) resource {
	return resource{what: "team " + id, path: place("teams", id), doc: only("title", "description"), body: func(n *document.Node) any { return encode(n) }}
}

// userResource is a user as it is edited.
func userResource(subject string) resource {
	return resource{
		what: "user " + subject, path: place("users", subject),
		doc: only("name", "email", "role", "teams", "disabled"), body: func(n *document.Node) any { return encode(n) },
	}
}

// edit changes a resource as the flags of a command say, by the member that each
// changes.
func (s *shell) edit(cmd *cobra.Command, r reach, d resource, k consent, members map[string]func() *document.Node) error {
	c, err := s.client(r)
	if err != nil {
		return err
	}
	var all []edit
	for _, name := range []string{"title", "description", "name", "email", "role", "teams", "disabled"} {
		if value := members[name]; value != nil {
			all = append(all, edit{path: path{name}, new: value()})
		}
	}
	if len(all) == 0 {
		return usagef("say what to change; see %s --help", cmd.CommandPath())
	}
	body, err := s.change(cmd.Context(), c, d, k, func(n *document.Node) (*document.Node, error) { return apply(n, all) })
	if err != nil || body == nil {
		return err
	}
	if s.json {
		return s.printJSON(json.RawMessage(body))
	}
	fmt.Fprintf(s.out, "%s is changed.\n", printable(d.what))
	return nil
}

// changed are the members of the text flags that were given; an empty text removes.
func changed(cmd *cobra.Command, names ...string) map[string]func() *document.Node {
	members := map[string]func() *document.Node{}
	for _, name := range names {
		f := cmd.Flags().Lookup(name)
		if f.Changed {
			members[name] = func() *document.Node {
				if f.Value.String() == "" {
					return nil
				}
				return textNode(f.Value.String())
			}
		}
	}
	return members
}

func (s *shell) teamEditCommand() *cobra.Command {
	var r reach
	var k consent
	cmd := &cobra.Command{
		Use:               "edit ID",
		Short:             "Change a team's title or description",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeTeams(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.edit(cmd, r, teamResource(args[0]), k, changed(cmd, "title", "description"))
		},
	}
	r.flags(cmd)
	cmd.Flags().String("title", "", "what people see instead of the id")
	cmd.Flags().String("description", "", "who they are, in a sentence")
	k.dryFlags(cmd)
	return cmd
}

func (s *shell) teamRmCommand() *cobra.Command {
	var r reach
	var k consent
	cmd := &cobra.Command{
		Use:               "rm ID",
		Short:             "Remove a team, and with it its servers and memberships",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeTeams(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			own, err := c.own(cmd.Context(), jackfield.Team(args[0]))
			if err != nil {
				return err
			}
			return s.remove(cmd.Context(), c, teamResource(args[0]), k, "Remove it, with the servers that are its own? Its members lose what the team sees.", own...)
		},
	}
	r.flags(cmd)
	k.dryFlags(cmd)
	return cmd
}

// own says which servers go with a team or a user.
func (c *client) own(ctx context.Context, scope jackfield.Scope) ([]string, error) {
	all, err := c.definitions(ctx, scope.String())
	if err != nil || len(all.Definitions) == 0 {
		return nil, err
	}
	var names []string
	for _, d := range all.Definitions {
		names = append(names, d.Name)
	}
	return []string{"its servers go as well: " + strings.Join(names, ", ")}, nil
}

func (s *shell) memberCommand(use, method, short, done string) *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:               use + " TEAM SUBJECT",
		Short:             short,
		Args:              args(2, 2),
		ValidArgsFunction: s.completeMembers(&r),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			a, err := c.do(cmd.Context(), request{method: method, path: place("teams", args[0], "members", args[1]), match: always}, nil)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(json.RawMessage(a.body))
			}
			fmt.Fprintf(s.out, "%s %s team %s.\n", printable(args[1]), done, printable(args[0]))
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

func (s *shell) userCommand() *cobra.Command {
	return family("user", "Define people and programs, their roles and teams",
		`A user is a person or a program that comes to the gateway. Users are made by admins.
Roles: user (own servers, variables and keys), editor (and the servers of the user's
teams), admin (everything).

  jackfield user add alice --name "Alice A." --email alice@example.com --team data
  jackfield key add alice-laptop --user alice
  jackfield user edit alice --role editor
  jackfield user disable alice`,
		s.userLsCommand(), s.userShowCommand(), s.userAddCommand(), s.userEditCommand(), s.userRmCommand(),
		s.userSwitchCommand("disable", "Refuse a user and the user's keys; calls and streams end", true),
		s.userSwitchCommand("enable", "Let a user in again", false))
}

func (c *client) users(ctx context.Context, most int) (api.UserList, error) {
	all := api.UserList{Users: []api.User{}}
	err := pages(ctx, c, place("users"), nil, func(p api.UserList) api.Page {
		all.Users = append(all.Users, p.Users...)
		if most > 0 && len(all.Users) >= most {
			return api.Page{}
		}
		return p.Page
	})
	return all, err
}

func (s *shell) userLsCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the users",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			all, err := c.users(cmd.Context(), 0)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(all)
			}
			if len(all.Users) == 0 {
				fmt.Fprintln(s.out, "There are no users. jackfield user add SUBJECT makes one.")
				return nil
			}
			t := table{head: []string{"USER", "NAME", "EMAIL", "ROLE", "TEAMS", "NOTE"}, most: map[int]int{0: 30, 1: 30, 2: 30, 4: 30}}
			for _, u := range all.Users {
				note := cell{}
				if u.Disabled {
					note = cell{"disabled", red}
				}
				t.row(text(u.Subject), text(orDash(u.Name)), text(orDash(u.Email)), text(roleOf(u)), text(orDash(strings.Join(u.Teams, ", "))), note)
			}
			s.print(t)
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

func roleOf(u api.User) string { return string(cmp.Or(u.Role, jackfield.RoleUser)) }

func (s *shell) userShowCommand() *cobra.Command {
	var r reach
	cmd := &cobra.Command{
		Use:               "show SUBJECT",
		Short:             "Show a user",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeUsers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			var u api.User
			if err := c.get(cmd.Context(), place("users", args[0]), &u); err != nil {
				return err
			}
			if s.json {
				return s.printJSON(u)
			}
			s.showUser(u)
			return nil
		},
	}
	r.flags(cmd)
	return cmd
}

func (s *shell) showUser(u api.User) {
	colour := s.painter(s.out)
	fmt.Fprintln(s.out, colour(bold, printable(u.Subject)))
	lines := [][2]string{{"name", u.Name}, {"email", u.Email}, {"role", roleOf(u)}, {"teams", cmp.Or(strings.Join(u.Teams, ", "), "none")}}
	if u.Disabled {
		lines = append(lines, [2]string{"disabled", "yes: the user and the user's keys are refused"})
	}
	for _, l := range lines {
		if l[1] != "" {
			fmt.Fprintf(s.out, "%s %s\n", colour(dim, fmt.Sprintf("%-9s", l[0])), printable(l[1]))
		}
	}
}

// personFlags are what can be said of a user.
func (s *shell) personFlags(cmd *cobra.Command, r *reach, teams *[]string) {
	f := cmd.Flags()
	f.String("name", "", "the person's name")
	f.String("email", "", "the person's email address")
	f.String("role", "", "the `ROLE`: user, editor or admin")
	f.StringSliceVar(teams, "team", nil, "a team, `ID`; can stand several times")
	complete(cmd, "role", oneOf(roles()...))
	complete(cmd, "team", s.completeTeams(r, 0))
}

func (s *shell) userAddCommand() *cobra.Command {
	var r reach
	var teams []string
	cmd := &cobra.Command{
		Use:               "add SUBJECT",
		Short:             "Make a user",
		Args:              args(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			given := func(name string) string { return cmd.Flags().Lookup(name).Value.String() }
			u := api.NewUser{Subject: args[0], EditUser: api.EditUser{
				Name: given("name"), Email: given("email"), Role: jackfield.Role(given("role")), Teams: teams,
			}}
			return s.create(cmd.Context(), r, place("users"), u, "user "+u.Subject, "jackfield user edit "+shellWord(u.Subject),
				"There is a user "+u.Subject+" now. jackfield key add NAME --user "+shellWord(u.Subject)+" makes a key to come in with.")
		},
	}
	r.flags(cmd)
	s.personFlags(cmd, &r, &teams)
	return cmd
}

func (s *shell) userEditCommand() *cobra.Command {
	var r reach
	var k consent
	var teams []string
	cmd := &cobra.Command{
		Use:   "edit SUBJECT",
		Short: "Change a user",
		Long: `Changes a user. An empty text takes a name or an address away; --team says all teams
that the user is in (jackfield team join and leave change one).`,
		Args:              args(1, 1),
		ValidArgsFunction: s.completeUsers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			members := changed(cmd, "name", "email", "role")
			if cmd.Flags().Changed("team") {
				members["teams"] = func() *document.Node { return list(teams) }
			}
			return s.edit(cmd, r, userResource(args[0]), k, members)
		},
	}
	r.flags(cmd)
	s.personFlags(cmd, &r, &teams)
	k.dryFlags(cmd)
	return cmd
}

func (s *shell) userRmCommand() *cobra.Command {
	var r reach
	var k consent
	cmd := &cobra.Command{
		Use:               "rm SUBJECT",
		Short:             "Remove a user, and with it the user's keys, servers and variables",
		Args:              args(1, 1),
		ValidArgsFunction: s.completeUsers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client(r)
			if err != nil {
				return err
			}
			own, err := c.own(cmd.Context(), jackfield.User(args[0]))
			if err != nil {
				return err
			}
			return s.remove(cmd.Context(), c, userResource(args[0]), k, "Remove the user, with keys, own servers and variables?", own...)
		},
	}
	r.flags(cmd)
	k.dryFlags(cmd)
	return cmd
}

func (s *shell) userSwitchCommand(use, short string, off bool) *cobra.Command {
	var r reach
	var k consent
	cmd := &cobra.Command{
		Use:               use + " SUBJECT",
		Short:             short,
		Args:              args(1, 1),
		ValidArgsFunction: s.completeUsers(&r, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.edit(cmd, r, userResource(args[0]), k, map[string]func() *document.Node{"disabled": func() *document.Node {
				if !off {
					return nil // as it is written where nobody said anything
				}
				return truth(true)
			}})
		},
	}
	r.flags(cmd)
	k.flags(cmd)
	return cmd
}

// roles as flags complete them.
func roles() []string {
	var all []string
	for _, r := range jackfield.Roles() {
		all = append(all, string(r))
	}
	slices.Sort(all)
	return all
}
