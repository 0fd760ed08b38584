package main

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const about = `Jackfield puts one URL in front of many MCP servers. Each is patched through
only when a call needs it.

  jackfield serve                          run with three demo servers
  jackfield serve --config jackfield.yaml  run with your own
  jackfield servers                        look at a gateway that runs
  jackfield server add NAME --url URL      define one more, while it runs
  jackfield call text hash --arg text=abc  call a tool through it`

// root is the whole tree of commands.
func (s *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "jackfield",
		Short:         "One URL in front of many MCP servers",
		Long:          about,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := "see jackfield --help"
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef("there is no command %q; %s", args[0], hint)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s; see %s --help", flagMessage(err), cmd.CommandPath())
	})
	root.PersistentFlags().BoolVar(&s.json, "json", false, "print JSON instead of text")
	grouped(root, "run", "Run:", s.serveCommand(), s.connectCommand(), s.doctorCommand(), s.configCommand())
	grouped(root, "look", "Look and use:", s.serversCommand(), s.toolsCommand(), s.callCommand(), s.topCommand(), s.eventsCommand(), s.logCommand())
	grouped(root, "define", "Define:", s.serverCommand(), s.varCommand())
	grouped(root, "people", "People:", s.whoamiCommand(), s.keyCommand(), s.teamCommand(), s.userCommand())
	grouped(root, "state", "State:", s.backupCommand(), s.restoreCommand(), s.exportCommand(), s.importCommand())
	root.AddCommand(s.versionCommand(), s.demoCommand())
	return root
}

// grouped adds commands under a heading of the help.
func grouped(root *cobra.Command, id, title string, all ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range all {
		cmd.GroupID = id
	}
	root.AddCommand(all...)
}

// flagMessage says what is wrong with a flag in our own words where pflag's are
// those of a parser.
func flagMessage(err error) string {
	var missing *pflag.ValueRequiredError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &missing):
		return "--" + missing.GetFlag().Name + " needs a value"
	case errors.As(err, &unknown):
		return "there is no flag " + dashes(unknown.GetSpecifiedName())
	}
	return err.Error()
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// args checks the number of arguments and says in words what is expected.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef("something is missing; use %s", useLine(cmd))
		case len(args) > most:
			return usagef("%q is too much; use %s", args[most], useLine(cmd))
		}
		return nil
	}
}

// useLine is how a command is used, in one line.
func useLine(cmd *cobra.Command) string { return strings.TrimSuffix(cmd.UseLine(), " [flags]") }

// printJSON prints v for programs.
func (s *shell) printJSON(v any) error {
	enc := json.NewEncoder(s.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
