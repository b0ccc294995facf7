package daemon

import (
	"context"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/phases"
	"weir/phases/refactor"
)

// refactoring says what a refactoring changes, where each of its rules comes
// from, and what its shadow saw.
func (d *Daemon) refactoring(ctx context.Context, c caller, in api.RefactorArgs) (api.Refactoring, error) {
	if _, err := d.needPlan(); err != nil {
		return api.Refactoring{}, err
	}
	if err := d.watchShadow(ctx, c.now); err != nil {
		return api.Refactoring{}, err
	}
	digest, err := d.refactored(in.Name)
	if err != nil {
		return api.Refactoring{}, err
	}
	f, err := d.frozenStep(digest)
	if err != nil {
		return api.Refactoring{}, err
	}
	var over *phases.Frozen
	if f.OverStep != "" {
		o, err := d.machine.Frozen(f.OverStep)
		if err != nil {
			return api.Refactoring{}, err
		}
		over = &o
	}
	s := d.machine.State()
	out := api.Refactoring{Name: f.Proof.Name, Step: f.Step.Name, Digest: digest, Proof: *f.Proof, InForce: s.Stable == digest}
	before, after, groups := phases.Compared(f, over)
	out.Groups = groups
	out.Old, out.New = refactor.Lineage(before, after, groups, d.seen(d.rows(c.now, statusAge)))
	if w := d.shadowFacts(c.now); w != nil && w.Digest == digest {
		out.Shadow = w
	}
	return out, nil
}

// refactored finds the frozen step that is about a refactoring: the one that
// waits, else the one in force, else the one confirmed last.
func (d *Daemon) refactored(name string) (string, error) {
	s := d.machine.State()
	var digests []string
	if s.Request != nil {
		digests = append(digests, s.Request.Digest)
	}
	digests = append(digests, s.Stable)
	for i := len(s.Confirms) - 1; i >= 0; i-- {
		digests = append(digests, s.Confirms[i].Digest)
	}
	for _, digest := range digests {
		if p := s.Heads[digest].Proof; p != nil && (name == "" || p.Name == name) {
			return digest, nil
		}
	}
	if name == "" {
		return "", exit.Errorf(exit.Invalid, "nothing was refactored yet").WithHint("write refactor.steps into the plan, and request refactor/shadow:NAME when it is next: weir request")
	}
	return "", exit.Errorf(exit.Invalid, "no refactoring %s was requested yet", name).WithHint("it is computed when its step is next: weir request")
}
