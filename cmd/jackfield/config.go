package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield/app"
)

func (s *shell) configCommand() *cobra.Command {
	config := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration file, or print its JSON Schema",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q; use config check or config schema", args[0])
			}
			return usagef("something is missing; use config check or config schema")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	var strict bool
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say everything that is wrong with a configuration file",
		Long: `Reads a configuration as serve would, without starting anything, and says
everything that is wrong with it. Without FILE it reads JACKFIELD_CONFIG.
Exit code 5 when serve would refuse to start or a server would not serve.`,
		Args: args(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			return s.check(file, strict)
		},
	}
	check.Flags().BoolVar(&strict, "strict", false, "count warnings as errors")
	schema := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file, for editors",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			schema, err := app.Schema()
			if err != nil {
				return err
			}
			_, err = s.out.Write(schema)
			return err
		},
	}
	config.AddCommand(check, schema)
	return config
}

// checked is the answer of config check.
type checked struct {
	File     string        `json:"file"`
	OK       bool          `json:"ok"`
	Servers  int           `json:"servers"` // definitions that would serve
	Problems []app.Problem `json:"problems"`
}

func (s *shell) check(file string, strict bool) error {
	if file == "" {
		if file, _ = s.env("JACKFIELD_CONFIG"); file == "" {
			return usagef("there is no file to check; use config check FILE, or set JACKFIELD_CONFIG")
		}
	}
	c, problems, err := app.Load(file, app.Overrides{Env: s.env})
	answer := checked{File: file, OK: err == nil, Problems: append([]app.Problem{}, problems...)}
	if c != nil {
		for _, server := range c.Servers {
			if server.Invalid == "" {
				answer.Servers++
			}
		}
	}
	counts := map[app.Severity]int{}
	for _, p := range problems {
		counts[p.Severity]++
	}
	if counts[app.SeverityInvalid] > 0 || strict && counts[app.SeverityWarning] > 0 {
		answer.OK = false
	}
	if s.json {
		if err = s.printJSON(answer); err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(s.out, p)
		}
		fmt.Fprintln(s.out, verdict(file, answer.Servers, err != nil, counts))
	}
	if !answer.OK {
		return &exitError{code: exitConfig}
	}
	return nil
}

// verdict sums a check up in one line.
func verdict(file string, good int, refused bool, counts map[app.Severity]int) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, plural(n, what))
		}
	}
	add(counts[app.SeverityError], "error")
	add(counts[app.SeverityInvalid], "error in servers")
	add(counts[app.SeverityWarning], "warning")
	found := "no problems"
	if len(parts) > 0 {
		found = strings.Join(parts, ", ")
	}
	if refused {
		return fmt.Sprintf("%s: %s; nothing would start", file, found)
	}
	return fmt.Sprintf("%s: %s; %s would serve", file, found, plural(good, "server"))
}

// plural is a number and a noun that fits it.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	head, tail, _ := strings.Cut(noun, " ")
	return strings.TrimSuffix(fmt.Sprintf("%d %ss %s", n, head, tail), " ")
}
