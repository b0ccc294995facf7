package phases

import (
	"errors"
	"fmt"
)

// ErrOff refuses what would load something into the kernel.
var ErrOff = errors.New("weir is switched off on this machine")

// SwitchOff says by what weir is switched off, "" that it is not. While it is,
// nothing is armed, confirmed or restored; the ways back work.
func (m *Machine) SwitchOff(why string) { m.off = why }

// SwitchedOff says by what weir is switched off, "" that it is not.
func (m *Machine) SwitchedOff() string { return m.off }

func (m *Machine) on() error {
	if m.off == "" {
		return nil
	}
	return fmt.Errorf("%w by %s", ErrOff, m.off)
}
