package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/jackfield-dev/jackfield/internal/demo"
)

func (s *shell) demoCommand() *cobra.Command {
	var era string
	cmd := &cobra.Command{
		Use:   "demo NAME",
		Short: "Run a built-in MCP server over stdin and stdout: time, text or notes",
		Long: `Runs one of the built-in MCP servers over stdin and stdout, as any MCP client
starts a server with a command. serve does so when it has no configuration.

  time   what time it is anywhere, conversion, date arithmetic
  text   checksums, Base64, counting, slugs, differences, pattern search
  notes  a notepad in memory, with resources, a prompt, progress and questions`,
		Args:   args(1, 1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := demo.Serve(cmd.Context(), args[0], s.in, s.out, demo.Options{
				Era: demo.Era(era), Version: thisBuild().Version,
			})
			if errors.Is(err, context.Canceled) || cmd.Context().Err() != nil {
				return nil // it was told to stop
			}
			return err
		},
	}
	cmd.Flags().StringVar(&era, "era", string(demo.EraBoth), "the protocol revisions to speak: both, modern (2026-07-28) or legacy (before)")
	return cmd
}
