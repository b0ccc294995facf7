package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/report"
	"weir/phases"
	"weir/phases/approval"
	"weir/phases/audit"
	"weir/plans"
	"weir/store"
)

// auditReport makes and signs a report. Only what the loop owns is read in the
// loop; hashing and checking may take a while.
func (d *Daemon) auditReport(ctx context.Context, peer api.Peer, _ json.RawMessage) (any, error) {
	var in report.Input
	var lines []string
	err := d.do(ctx, func() (err error) {
		d.checkpoint()
		in, err = d.reportInput(ctx)
		if err == nil {
			lines, err = store.ReadCheckpoints(d.cfg.State)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	leaves, err := store.ReadAuditLog(d.cfg.State)
	if err != nil {
		return nil, err
	}
	if n := len(in.Records); len(leaves) > n {
		leaves = leaves[:n] // what came since
	}
	lines = slices.DeleteFunc(lines, func(l string) bool {
		s, err := audit.ParseLine(l)
		return err == nil && s.Size > uint64(len(leaves)) && d.audit.log.Err() == nil
	})
	key := d.audit.log.Key()
	if key == nil {
		return nil, d.audit.log.Err()
	}
	in.Result = audit.Check(leaves, lines, key)
	if err := d.audit.log.Err(); err != nil {
		in.Result.Problems = append(in.Result.Problems, audit.Problem{Words: err.Error()})
	}
	in.Key = audit.Fingerprint(key)
	steps, missing := d.stepParts(in.Records)
	in.Result.Problems = append(in.Result.Problems, missing...)
	parts := []report.Part{
		report.NewPart(report.Summary, in.Text()),
		report.NewPart(report.Openings, in.OpeningsText()),
		report.NewPart(report.Log, report.Lines(leaves)),
		report.NewPart(report.Checkpoints, report.Lines(lines)),
		report.NewPart(report.Machine, []byte(audit.Allowed(key, audit.Version, report.Version))),
	}
	parts[2].Text = nil
	parts = append(parts, allowedParts(in.Records)...)
	parts = append(parts, steps...)
	out := api.Report{Size: uint64(len(leaves)), Parts: parts}
	out.Signature, err = d.audit.log.SignText(report.Version, report.Manifest(parts))
	return out, err
}

func (d *Daemon) reportInput(ctx context.Context) (report.Input, error) {
	now := d.cfg.Now()
	in := report.Input{At: now, Machine: d.machine.Identity}
	var err error
	if in.Records, err = d.machine.History(); err != nil {
		return in, err
	}
	if spans := d.evidence.Spans(); len(spans) > 0 {
		in.Saw.From = spans[0].From
		in.Saw.Observed = d.evidence.ObservedTime(in.Saw.From, now)
		in.Saw.Gaps = d.evidence.Gaps(in.Saw.From, now)
	}
	if w, ok := d.evidence.Witnessed(); ok {
		in.Saw.Share = &w
	}
	if d.machine.Plan().Hash == "" {
		return in, nil
	}
	if err := d.refresh(ctx, now, freshFor); err != nil {
		return in, err
	}
	d.noteOpenings()
	in.Openings, err = d.allOpenings(now, 0)
	return in, err
}

// allowedParts are the signers of every trust file that was in force.
func allowedParts(records []phases.Record) []report.Part {
	var out []report.Part
	done := map[string]bool{}
	for _, r := range records {
		if r.Kind != phases.Trusted || done[r.Trust] {
			continue
		}
		done[r.Trust] = true
		if t, err := plans.ParseTrust("the trust file", r.TrustText); err == nil {
			out = append(out, report.NewPart("allowed-"+strings.TrimPrefix(r.Trust, "sha256:"), []byte(t.AllowedSigners(approval.Namespace))))
		}
	}
	return out
}

// stepParts are the files of the frozen steps that something was decided on, by
// their sums.
func (d *Daemon) stepParts(records []phases.Record) ([]report.Part, []audit.Problem) {
	var out []report.Part
	var missing []audit.Problem
	done := map[string]bool{"": true}
	for _, r := range records {
		if r.Kind == phases.Requested || r.Kind == phases.Applied || done[r.Digest] {
			continue
		}
		done[r.Digest] = true
		text, err := d.files.GetFrozen(r.Digest)
		if err == nil {
			_, err = phases.DecodeFrozen(r.Digest, text)
		}
		if err != nil {
			missing = append(missing, audit.Problem{Record: r.Seq, Words: fmt.Sprintf("the frozen step of record %d: %v", r.Seq, err)})
			continue
		}
		p := report.NewPart("step-"+strings.TrimPrefix(r.Digest, "sha256:"), text)
		p.Text = nil
		out = append(out, p)
	}
	return out, missing
}

// frozenFile is a frozen step as it lies on the disk.
func (d *Daemon) frozenFile(ctx context.Context, c caller, in api.DigestArgs) (api.FrozenFile, error) {
	text, err := d.files.GetFrozen(in.Digest)
	return api.FrozenFile{Text: text}, err
}
