package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/phases"
)

// widening says how an exception beyond the trust file's limits is signed.
type widening struct {
	statement, alone bool
	sign             string // key file, or "agent"
	signed           string // file with the statement; its signatures are the arguments
}

func (w *widening) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.statement, "statement", false, "print what signers sign, and do nothing")
	c.Flags().BoolVar(&w.alone, "emergency", false, "beyond the limits on the word of one signer, for 4h at most")
	c.Flags().StringVar(&w.sign, "sign", "", "sign with this key file, by ssh-keygen; \"agent\": with a key in the agent")
	c.Flags().StringVar(&w.signed, "signed", "", "this statement was signed; its signatures are the arguments")
	c.MarkFlagsMutuallyExclusive("statement", "sign", "signed")
	c.MarkFlagsMutuallyExclusive("emergency", "signed")
}

// asked says whether signers decide.
func (w widening) asked() bool { return w.statement || w.alone || w.sign != "" || w.signed != "" }

// wider prints, signs or brings the statement.
func (e *env) wider(ctx context.Context, w widening, of api.WiderOf, signatures []string) error {
	of.Alone = w.alone
	st := api.StatementArgs{Wider: &of}
	var in api.WiderArgs
	var err error
	switch {
	case w.statement:
		return e.printStatement(ctx, st)
	case w.signed != "":
		if in.Statement, in.Signatures, err = e.readSigned(w.signed, signatures); err != nil {
			return err
		}
	case w.sign == "":
		return exit.Errorf(exit.Approval, "an emergency is signed by one: --sign KEYFILE")
	default:
		var sig []byte
		if in.Statement, sig, err = e.signature(ctx, st, approving{sign: w.sign}); err != nil {
			return err
		}
		in.Signatures = [][]byte{sig}
	}
	var out api.Widened
	if err := e.call(ctx, "wider", in, &out); err != nil {
		return err
	}
	mark := ""
	if out.Emergency {
		mark = "EMERGENCY: "
	}
	if out.Kind == phases.KindQuarantine {
		fmt.Fprintf(e.out, "%s%s is cut off for %s; end it: weir quarantine %s --end\n", mark, out.ID, span(out.For), out.ID)
	} else {
		fmt.Fprintf(e.out, "%sunblocked for %s, id %s\nend it: weir unblock --end %s\n", mark, span(out.For), out.ID, out.ID)
	}
	if out.Emergency {
		fmt.Fprintf(e.out, "it ends by itself; to have it longer the quorum signs: weir %s … --statement\n", out.Kind)
	}
	return nil
}

// readSigned reads a statement and the signatures over it.
func (e *env) readSigned(statement string, signatures []string) (text []byte, sigs [][]byte, err error) {
	if text, err = e.readFile(statement); err != nil {
		return nil, nil, err
	}
	if len(signatures) == 0 {
		return nil, nil, exit.Errorf(exit.Usage, "where are the signatures over %s?", statement).WithHint("name their files: %s.%s.sig", strings.TrimSuffix(statement, ".sig"), "alice")
	}
	for _, f := range signatures {
		sig, err := e.readFile(f)
		if err != nil {
			return nil, nil, err
		}
		sigs = append(sigs, sig)
	}
	return text, sigs, nil
}
