package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"weir/cmd/weir/internal/exit"
)

var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "write the manual pages into a folder",
		Long: `Writes one manual page per command, section 1.

  weir man /usr/local/share/man/man1 && man weir-rollback`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if st, err := os.Stat(args[0]); err != nil || !st.IsDir() {
				return exit.Errorf(exit.Invalid, "cannot write manual pages: %s is not a folder", args[0])
			}
			c.Root().DisableAutoGenTag = true
			if err := doc.GenManTree(c.Root(), &doc.GenManHeader{Title: "WEIR", Section: "1", Source: "weir " + version}, args[0]); err != nil {
				return fmt.Errorf("cannot write manual pages: %w", err)
			}
			pages, err := filepath.Glob(filepath.Join(args[0], "weir*.1"))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "%d pages in %s\n", len(pages), args[0])
			return err
		},
	}
})
