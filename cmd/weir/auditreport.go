package main

import (
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/report"
)

func auditReport(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "report",
		Short: "write one file that a stranger can check without weir",
		Long: `Writes what was in force at any time, who decided it and on what evidence, every
opening with what left, that the kernel then held exactly the approved bytes, and
what weir did not see; with the log, the checkpoints, the signatures and the frozen
steps that prove it. docs/audit.md says how to check the file with ssh-keygen and
sha256sum.

  weir audit report > report`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			var r api.Report
			if err := e.call(ctx, "report", struct{}{}, &r); err != nil {
				return err
			}
			for i := range r.Parts {
				p := &r.Parts[i]
				digest, step := strings.CutPrefix(p.Name, "step-")
				switch {
				case p.Text != nil:
				case step:
					var f api.FrozenFile
					if err := e.call(ctx, "frozenfile", api.DigestArgs{Digest: "sha256:" + digest}, &f); err != nil {
						return err
					}
					p.Text = f.Text
				case p.Name == report.Log:
					all, err := e.readAudit(ctx)
					if err != nil {
						return err
					}
					p.Text = report.Lines(all.Leaves[:min(uint64(len(all.Leaves)), r.Size)])
				}
			}
			return report.Write(e.out, r.Parts, r.Signature)
		},
	}
}
