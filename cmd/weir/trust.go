package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/phases/approval"
)

var _ = register(func(e *env) *cobra.Command {
	var statement, allowed bool
	var accept string
	c := &cobra.Command{
		Use:   "trust [SIGNATURE…]",
		Short: "who may decide on this machine, and agree to another trust file",
		Long: `Shows the trust file in force: who may sign, and whose signatures are needed to
change it. It is accepted when the daemon first sees it; from then on another one
stops every approval until enough signers of the accepted one have signed it.

  weir trust --allowed > allowed_signers     for ssh-keygen -Y verify
  weir trust --statement > st                to use the trust file that is there now
  ssh-keygen -Y sign -n weir-approval-v1 -f ~/.ssh/id_ed25519 st
  weir trust --accept st st.alice.sig st.bob.sig`,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) > 0 && accept == "":
				return exit.Errorf(exit.Usage, "signatures of which statement?").WithHint("weir trust --accept STATEMENT SIGNATURE …")
			case accept != "":
				return e.acceptTrust(c.Context(), accept, args)
			case statement:
				return e.printStatement(c.Context(), api.StatementArgs{Trust: true})
			}
			var out api.Trust
			if err := e.call(c.Context(), "trust", struct{}{}, &out); err != nil {
				return err
			}
			if allowed {
				fmt.Fprint(e.out, out.Allowed)
				return nil
			}
			if e.output == "json" {
				return e.json("Trust", out)
			}
			e.showTrust(out)
			return nil
		},
	}
	c.Flags().BoolVar(&statement, "statement", false, "print what signers sign so that the trust file that is there now is used")
	c.Flags().StringVar(&accept, "accept", "", "this statement was signed; its signatures are the arguments")
	c.Flags().BoolVar(&allowed, "allowed", false, "print the signers' keys for ssh-keygen -Y verify -f")
	c.MarkFlagsMutuallyExclusive("statement", "accept", "allowed")
	e.outputFlag(c)
	return c
})

func (e *env) showTrust(t api.Trust) {
	fmt.Fprintf(e.out, "machine   %s\nfile      %s\n", t.Machine, safe(t.File))
	switch {
	case t.Hash == "" && t.Refused == "":
		fmt.Fprintln(e.out, "in force  none: steps are approved by account")
	case t.Hash != "":
		fmt.Fprintf(e.out, "in force  %s, profile %s\n", t.Hash, t.Profile)
	}
	if t.Refused != "" {
		fmt.Fprintf(e.out, "REFUSED   %s: nothing can be approved\n", safe(t.Refused))
	}
	for _, s := range t.Signers {
		fmt.Fprintf(e.out, "signer    %s\n", safe(s))
	}
	for _, w := range t.Witness {
		fmt.Fprintf(e.out, "witness   %s\n", safe(w))
	}
	if t.Change > 0 {
		fmt.Fprintf(e.out, "another file needs %s\n", many(t.Change, "signature"))
	}
}

func (e *env) acceptTrust(ctx context.Context, statement string, signatures []string) error {
	var in api.TrustArgs
	var err error
	if in.Statement, in.Signatures, err = e.readSigned(statement, signatures); err != nil {
		return err
	}
	if err := e.call(ctx, "trustfile", in, nil); err != nil {
		return err
	}
	fmt.Fprintln(e.out, "accepted: the trust file that is there now decides; ask again: weir request")
	return nil
}

// approving says how a decision is signed.
type approving struct {
	statement bool
	sign      string // key file, or "agent"
	signature string // file, or "-"
	of        string // file with the statement of the signature
}

func (how *approving) flags(c *cobra.Command) {
	c.Flags().BoolVar(&how.statement, "statement", false, "print what is signed, and decide nothing")
	c.Flags().StringVar(&how.sign, "sign", "", "sign with this key file, by ssh-keygen; \"agent\": with a key in the agent")
	c.Flags().StringVar(&how.signature, "signature", "", "bring a signature that was made elsewhere; \"-\": from stdin")
	c.Flags().StringVar(&how.of, "of", "", "the statement that --signature is over; FILE, for FILE.sig")
	c.MarkFlagsMutuallyExclusive("statement", "sign", "signature")
}

func (e *env) printStatement(ctx context.Context, in api.StatementArgs) error {
	var st api.Statement
	if err := e.call(ctx, "statement", in, &st); err != nil {
		return err
	}
	_, err := e.out.Write(st.Text)
	return err
}

// signed fills in the signature of a decision.
func (e *env) signed(ctx context.Context, in *api.ApproveArgs, how approving) (err error) {
	in.Statement, in.Signature, err = e.signature(ctx, api.StatementArgs{Digest: in.Digest, Deny: in.Deny}, how)
	return err
}

// signature brings a signature, or makes one here. The statement is nil where a
// signature came without.
func (e *env) signature(ctx context.Context, of api.StatementArgs, how approving) (statement, signature []byte, err error) {
	if how.signature != "" {
		if signature, err = e.readFile(how.signature); err != nil {
			return nil, nil, err
		}
		if len(signature) == 0 {
			return nil, nil, exit.Errorf(exit.Approval, "%s holds no signature", how.signature)
		}
		// ssh-keygen writes FILE.sig beside FILE.
		if of, ok := strings.CutSuffix(how.signature, ".sig"); ok && how.of == "" {
			if _, err := os.Stat(of); err == nil {
				how.of = of
			}
		}
		if how.of != "" {
			statement, err = e.readFile(how.of)
		}
		return statement, signature, err
	}
	var st api.Statement
	if err := e.call(ctx, "statement", of, &st); err != nil {
		return nil, nil, err
	}
	key := how.sign
	if key == "agent" {
		file, err := e.agentKey(ctx)
		if err != nil {
			return nil, nil, err
		}
		defer os.RemoveAll(filepath.Dir(file))
		key = file
	}
	signature, err = e.keygen(ctx, st.Text, "ssh-keygen", "-q", "-Y", "sign", "-n", approval.Namespace, "-f", key)
	return st.Text, signature, err
}

func (e *env) keygen(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(stdin), &out, &errs
	if err := c.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, exit.Errorf(exit.Failed, "%s is not installed", name).WithHint("sign elsewhere: weir approve --statement")
		}
		return nil, exit.Errorf(exit.Failed, "%s: %w: %s", name, err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

// agentKey writes the public key of the first key in the agent that the trust
// file names to a file in a folder of its own.
func (e *env) agentKey(ctx context.Context) (string, error) {
	var t api.Trust
	if err := e.call(ctx, "trust", struct{}{}, &t); err != nil {
		return "", err
	}
	list, err := e.keygen(ctx, nil, "ssh-add", "-L")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.Contains(t.Allowed, " "+f[0]+" "+f[1]+"\n") {
			continue
		}
		dir, err := os.MkdirTemp("", "weir-sign-")
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, "key.pub")
		return file, os.WriteFile(file, []byte(f[0]+" "+f[1]+"\n"), 0o600)
	}
	return "", exit.Errorf(exit.Approval, "the agent has no key that the trust file names").WithHint("weir trust lists the signers; ssh-add -l the agent's keys")
}

// readFile reads a file, or with "-" stdin.
func (e *env) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(e.in, 1<<20))
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, exit.Errorf(exit.Invalid, "cannot read %s: %w", name, err)
	}
	return data, nil
}
