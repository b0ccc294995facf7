package main

import (
	"errors"
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
		Short: "see a whole rollout in a small office, in half a minute, without touching this network",
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
				if in, ok := e.in.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
					opt.In = in
				}
			}
			return demo.Run(c.Context(), opt)
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "stay at the end, with a shell in the gateway")
	c.AddCommand(&cobra.Command{
		Use:   "probe HOST SERVICE ADDRESS…",
		Short: "have a host of the demo's office send a packet",
		Long: `In the shells of "weir demo --keep": a host of the office makes one exchange with a
server of the Internet. Ends with 0 when the answer came back from all, else 2.

  weir demo probe camera tcp/8883 203.0.113.66 2001:db8:113::66
  weir demo probe desk1 ping 198.51.100.7`,
		Args: cobra.MinimumNArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			all := true
			for _, to := range args[2:] {
				passes, why, err := demo.Probe(demo.Asked{From: args[0], Service: args[1], To: to})
				if errors.Is(err, demo.ErrNoOffice) {
					return exit.Errorf(exit.Usage, "%w", err).WithHint("weir demo --keep")
				}
				if err != nil {
					return exit.Errorf(exit.Usage, "%w", err)
				}
				verdict := "passes"
				if !passes {
					all, verdict = false, "denied: "+why
				}
				fmt.Fprintf(e.out, "%s -> %s %s  %s\n", safe(args[0]), safe(to), safe(args[1]), safe(verdict))
			}
			if !all {
				return &difference{}
			}
			return nil
		},
	})
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
