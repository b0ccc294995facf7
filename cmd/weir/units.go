package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/boot"
)

var _ = register(func(e *env) *cobra.Command {
	var write, program string
	c := &cobra.Command{
		Use:   "units",
		Short: "print or write the files for systemd",
		Long: `Prints the units that start weir: weir-boot.service puts what was confirmed in
force before the network comes up, weir.service is the daemon, which has no right
of root but CAP_NET_ADMIN, and weir-lab.socket where it has steps rehearsed, by a
service that has no right at all outside of namespaces of its own. Stopping or
restarting any of them changes nothing in the kernel.

  weir units                                    print them
  sudo weir units --write /etc/systemd/system   write them
  sudo systemctl daemon-reload
  sudo systemctl enable --now weir-boot weir`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if program == "" {
				exe, err := os.Executable()
				if err == nil {
					exe, err = filepath.EvalSymlinks(exe)
				}
				if err != nil {
					return fmt.Errorf("cannot tell where weir is: %w; say it: --program PATH", err)
				}
				program = exe
			}
			if write != "" {
				names, err := boot.WriteUnits(write, program)
				for _, n := range names {
					fmt.Fprintln(e.out, "wrote "+n)
				}
				if err == nil {
					fmt.Fprintln(e.err, "weir: hint: systemctl daemon-reload && systemctl enable --now weir-boot weir")
				}
				return err
			}
			units, err := boot.Units(program)
			for i, u := range units {
				if i > 0 {
					fmt.Fprintln(e.out)
				}
				fmt.Fprintf(e.out, "# --- %s\n%s", u.Name, u.Text)
			}
			return err
		},
	}
	c.Flags().StringVar(&write, "write", "", "write them into this folder")
	c.Flags().StringVar(&program, "program", "", "where weir is (default: this program)")
	return c
})
