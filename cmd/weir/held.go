package main

// What the kernel holds, read without the daemon: the kernel says which
// revision is in force, and the frozen steps' plain files what is in it.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"weir/nft"
	"weir/nft/kernel"
	"weir/phases"
)

// held is what the kernel holds and what the files say of it.
type held struct {
	k     *kernel.Kernel
	look  nft.Look
	heads map[string]phases.Head // of every frozen step, by revision
	id    string                 // revision that judges now: on trial, else stable; "" none or mixed
	head  phases.Head            // of it
	known bool                   // a frozen step is recorded for it
}

// hold looks at the kernel. The caller closes k.
func (e *env) hold(ctx context.Context) (*held, error) {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return nil, err
	}
	h := &held{k: k, heads: heads(e.state)}
	if h.look, err = k.Look(ctx); err != nil {
		k.Close()
		return nil, err
	}
	if h.id, _ = nft.One(h.look.Trial); h.id == "" {
		h.id, _ = nft.One(h.look.Stable)
	}
	h.head, h.known = h.heads[h.id]
	return h, nil
}

// name is the step that judges now.
func (h *held) name() string { return stepName(h.heads, h.id) }

// heads reads the first line of every frozen step's file: revision → head.
// Files that cannot be read are left out: the kernel is asked first, and a
// target whose file is gone cannot be named anyway.
func heads(state string) map[string]phases.Head {
	out := map[string]phases.Head{}
	files, _ := filepath.Glob(filepath.Join(state, "frozen", "*.json"))
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		line, err := bufio.NewReaderSize(f, 1<<20).ReadBytes('\n')
		f.Close()
		if err != nil {
			continue
		}
		var h phases.Head
		if json.Unmarshal(bytes.TrimSpace(line), &h) != nil {
			continue
		}
		if old, ok := out[h.Revision]; !ok || h.At.After(old.At) {
			out[h.Revision] = h
		}
	}
	return out
}

func stepName(hs map[string]phases.Head, id string) string {
	if id == "" {
		return phases.StepOff
	}
	if h, ok := hs[id]; ok {
		return h.Step.Name
	}
	for _, h := range hs {
		if h.OffID == id {
			return phases.StepOff
		}
	}
	return "revision " + id
}

// readFrozen reads and verifies a frozen step's file.
func readFrozen(state string, h phases.Head) (phases.Frozen, error) {
	digest := h.Digest()
	data, err := os.ReadFile(filepath.Join(state, "frozen", strings.TrimPrefix(digest, "sha256:")+".json"))
	if err != nil {
		return phases.Frozen{}, fmt.Errorf("cannot read the frozen step: %w", err)
	}
	return phases.DecodeFrozen(digest, data)
}
