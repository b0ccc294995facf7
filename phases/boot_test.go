package phases

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"weir/nft"
	"weir/phases/compile"
	"weir/plans"
)

// TestBootSnapshotIsChecked: whatever happens to its bytes, a snapshot is what
// was written or is refused.
func TestBootSnapshotIsChecked(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:cameras keep")
	for name, file := range map[string][]byte{"snapshot": s.w.snapshot, "choice": s.w.choice} {
		read := func(data []byte) error {
			_, err := DecodeBoot(data)
			if name == "choice" {
				_, err = DecodeChoice(data)
			}
			return err
		}
		if err := read(file); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(file); i += 1 + len(file)/700 {
			bad := bytes.Clone(file)
			bad[i] ^= 1 << (i % 7)
			if err := read(bad); !errors.Is(err, ErrBoot) && !errors.Is(err, ErrBootNewer) {
				t.Fatalf("%s, byte %d of %d changed: %v", name, i, len(file), err)
			}
			if err := read(file[:i]); !errors.Is(err, ErrBoot) {
				t.Fatalf("%s, the first %d bytes of %d: %v", name, i, len(file), err)
			}
		}
		for _, bad := range [][]byte{nil, {'\n'}, bytes.Repeat([]byte{0}, 4096), append(bytes.Clone(file), 'x'), append(bytes.Clone(file), file...)} {
			if err := read(bad); !errors.Is(err, ErrBoot) {
				t.Fatalf("%s %.40q: %v", name, bad, err)
			}
		}
		newer := bytes.Replace(file, []byte("-v1 "), []byte("-v2 "), 1)
		if err := read(newer); !errors.Is(err, ErrBootNewer) {
			t.Fatalf("%s of a newer version: %v", name, err)
		}
	}
}

// TestChoiceMakesTheSnapshotAgain: the recorded files say the same as the
// snapshot; a recorded file that was changed does not count.
func TestChoiceMakesTheSnapshotAgain(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:cameras group:cameras keep")
	b, err := DecodeBoot(s.w.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	c, err := DecodeChoice(s.w.choice)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Boot(s.w.GetFrozen)
	if err != nil {
		t.Fatal(err)
	}
	if !again.same(b) || len(again.Parts) != len(b.Parts) || len(b.Parts) < 3 {
		t.Errorf("%+v\n%+v", again, b)
	}
	one, err := b.Main()
	two, err2 := again.Main()
	if err != nil || err2 != nil || one.Rules.Ruleset.String() != two.Rules.Ruleset.String() || one.OffRev.ID != two.OffRev.ID {
		t.Error("the rulesets differ", err, err2)
	}
	s.w.frozen[c.From] = bytes.Replace(s.w.frozen[c.From], []byte("accept"), []byte("reject"), 1)
	if _, err := c.Boot(s.w.GetFrozen); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// TestBootSnapshotLacksAWayBack: the step matters more than a way back whose
// file is gone, and it is said.
func TestBootSnapshotLacksAWayBack(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/alert req ok:ben ok:cleo arm")
	delete(s.w.frozen, s.m.state.Stack[0].Digest)
	err := s.do("yes")
	if err == nil || !strings.Contains(err.Error(), "lacks the way back to monitor") || !strings.Contains(err.Error(), "confirmed enforce/block:cameras, seen in the kernel") {
		t.Fatal(err)
	}
	if err := s.w.boot(); err == nil { // the script's own boot wants every way
		t.Fatal("the way back is there")
	}
	if b, err := DecodeBoot(s.w.snapshot); err != nil || b.Step != "enforce/block:cameras" {
		t.Fatal(b.Step, err)
	}
}

// TestSwitchedOff: nothing is armed, confirmed or restored; ways back work.
func TestSwitchedOff(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/alert req ok:ben ok:cleo")
	s.m.SwitchOff("a word")
	for _, word := range []string{"arm", "yes", "restore"} {
		if err := s.do(word); !errors.Is(err, ErrOff) || !strings.Contains(err.Error(), "by a word") {
			t.Errorf("%s: %v", word, err)
		}
	}
	s.m.SwitchOff("")
	s.run("arm")
	s.m.SwitchOff("a word")
	if err := s.do("yes"); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	if err := s.m.Repair(ctx, s.w.now, ben, func(string) error { t.Error("repaired"); return nil }); !errors.Is(err, ErrOff) {
		t.Error(err)
	}
	if st := s.m.Status(s.w.now, facts(s.w)); st.Off != "a word" {
		t.Errorf("status says %q", st.Off)
	}
	s.run("back")
	if got := s.end(); got != "enforce/alert paused" {
		t.Error(got)
	}
}

// TestOnBootOfThePlan: the choice is that of the plan whose step is in force,
// not of one that is only registered.
func TestOnBootOfThePlan(t *testing.T) {
	planNamed("openboot", func(p *planT) { p.OnBoot = plans.OnBootOpen })
	s := newScript(t)
	onBoot := func() string {
		t.Helper()
		c, err := DecodeChoice(s.w.choice)
		if err != nil {
			t.Fatal(err)
		}
		return c.OnBoot
	}
	s.run("apply:p drill to:enforce/alert apply:openboot")
	if got := onBoot(); got != plans.OnBootRestore {
		t.Errorf("after registering: %s", got)
	}
	s.run("to:enforce/alert")
	if got := onBoot(); got != plans.OnBootOpen {
		t.Errorf("after the step of that plan: %s", got)
	}
}

// TestSnapshotKnowsWhatIsSpent: a journal that was put back from a copy does not
// bring back what it allowed.
func TestSnapshotKnowsWhatIsSpent(t *testing.T) {
	b := BootOf(Head{}, true, nil)
	b.Nonces = []string{"00112233445566778899aabbccddeeff"}
	s := newScript(t)
	s.run("apply:p drill to:monitor keep")
	b.From = s.m.state.Stable
	data, _, err := b.Encode(s.w.GetFrozen)
	if err != nil {
		t.Fatal(err)
	}
	s.w.snapshot, s.w.choice = data, nil
	spent := noted{}
	s.m.Nonces = spent
	if err := s.m.ReadBoot(); !errors.Is(err, ErrBoot) { // no choice beside it
		t.Error(err)
	}
	if !spent[b.Nonces[0]] {
		t.Error("what the snapshot knows as spent is not")
	}
	// And it stays in the next snapshot.
	s.m.boot = &b
	s.run("keep")
	if again, err := DecodeBoot(s.w.snapshot); err != nil || len(again.Nonces) != 1 {
		t.Error(again.Nonces, err)
	}
}

type noted map[string]bool

func (n noted) Spend(nonce string) error         { n[nonce] = true; return nil }
func (n noted) Spent(nonce string) (bool, error) { return n[nonce], nil }

// TestRollbackWithoutRoomForASnapshot: where the new one cannot be written, the
// old one goes, since it would deny again what a person let through.
func TestRollbackWithoutRoomForASnapshot(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:cameras keep")
	s.m.Boots = noRoom{s.w}
	err := s.do("back")
	if err == nil || !strings.Contains(err.Error(), "seen in the kernel") || !strings.Contains(err.Error(), "removed instead") {
		t.Fatal(err)
	}
	if s.w.snapshot != nil {
		t.Error("the snapshot of the stricter step is still there")
	}
	// A confirm keeps the older one: it was confirmed, too.
	s = newScript(t)
	s.run("apply:p drill to:enforce/alert req ok:ben ok:cleo arm keep")
	s.m.Boots = noRoom{s.w}
	if err := s.do("yes"); err == nil || !strings.Contains(err.Error(), "confirmed enforce/block:cameras, seen in the kernel") {
		t.Fatal(err)
	}
	if b, err := DecodeBoot(s.w.snapshot); err != nil || b.Step != "enforce/alert" {
		t.Error(b.Step, err)
	}
}

type noRoom struct{ *world }

func (noRoom) PutBoot(snapshot, choice []byte) error { return errors.New("no space left on device") }

// FuzzBoot: any bytes are refused or read.
func FuzzBoot(f *testing.F) {
	s := newScript(f)
	s.run("apply:p req ok:anna arm yes keep")
	f.Add(s.w.snapshot)
	f.Add(s.w.choice)
	f.Add([]byte("weir-boot-v1 x\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := DecodeBoot(data); err == nil {
			if _, err := b.Main(); err != nil {
				t.Fatal(err)
			}
		}
		// With a hash that fits, what is behind it is read.
		rest := []byte(string(data))
		if b, err := DecodeBoot(append([]byte("weir-boot-v1 "+hashOf(rest)+"\n"), rest...)); err == nil {
			if _, err := b.Main(); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := DecodeChoice(data); err == nil && c.OnBoot == "" {
			t.Fatal("no choice")
		}
	})
}

// TestRestoringComputesNothing: after an upgrade what was approved is loaded as it
// was recorded, by a boot and by a restore.
func TestRestoringComputesNothing(t *testing.T) {
	s := newScript(t)
	s.run("apply:p drill to:enforce/block:desks")
	was := s.w.stable()
	s.m.Compile = func(compile.Input) (nft.Revision, error) {
		t.Error("something was compiled")
		return nft.Revision{}, nil
	}
	for _, row := range []string{"boot", "reboot restore", "delete restore"} {
		s.run(row)
		if got := s.w.stable(); got != was {
			t.Errorf("after %s in force is %s, not %s", row, got, was)
		}
		s.m.Compile = func(compile.Input) (nft.Revision, error) {
			t.Error("something was compiled")
			return nft.Revision{}, nil
		}
	}
}
