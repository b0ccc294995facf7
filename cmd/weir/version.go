package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"weir/nft"
)

// version is set by the linker at a release.
var version = "development"

var _ = register(func(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version, its revision, and the kernel layout it writes",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			rev := ""
			if bi, ok := debug.ReadBuildInfo(); ok {
				for _, s := range bi.Settings {
					if s.Key == "vcs.revision" {
						rev = " " + s.Value
					}
				}
			}
			_, err := fmt.Fprintf(e.out, "weir %s%s, layout %d, %s\n", version, rev, nft.LayoutVersion, runtime.Version())
			return err
		},
	}
})
