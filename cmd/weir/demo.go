package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weir/cmd/weir/internal/demo"
	"weir/cmd/weir/internal/exit"
	"weir/nft/netns"
)

var _ = register(func(e *env) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "see a whole rollout in a small office, in a minute, without touching this network",
		Long: `Builds a small office in private network namespaces, makes real traffic, and takes
it through all four phases with this program's own daemon and commands. It needs
nothing but a Linux kernel: as root, or as any user where user namespaces are
allowed. Nothing is left behind.

  weir demo
  weir demo --keep     stay at the end, with a shell in the gateway`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			code, done, err := netns.EnsureUserns()
			if err != nil {
				return exit.Errorf(exit.NoPerm, "%w", err)
			}
			if done {
				return exitCode(code)
			}
			exe, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find this program: %w", err)
			}
			opt := demo.Options{Out: e.out, Exe: exe, Keep: keep}
			if f, ok := e.out.(*os.File); ok && e.terminal() {
				opt.Colour = os.Getenv("NO_COLOR") == ""
				opt.Width, _, _ = term.GetSize(int(f.Fd()))
			}
			return demo.Run(c.Context(), opt)
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "stay at the end, with a shell in the gateway")
	return c
})

// exitCode hands on what another process of this program ended with; it has
// said why.
func exitCode(code int) error {
	if code == 0 {
		return nil
	}
	return &exit.Error{Code: exit.Code(code)}
}
