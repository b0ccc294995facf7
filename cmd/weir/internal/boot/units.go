package boot

import (
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

//go:embed units
var unitFiles embed.FS

// Unit is a file for systemd.
type Unit struct {
	Name string
	Text string
}

// Units returns the files for systemd; program is the path of weir.
func Units(program string) ([]Unit, error) {
	if !filepath.IsAbs(program) || strings.ContainsAny(program, " \t\n\"'\\%$;") {
		return nil, fmt.Errorf("cannot write units for the program %q: systemd wants a whole path without blanks and quotes", program)
	}
	names, err := unitFiles.ReadDir("units")
	if err != nil {
		return nil, err
	}
	var out []Unit
	for _, n := range names {
		text, err := unitFiles.ReadFile(path.Join("units", n.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, Unit{n.Name(), strings.ReplaceAll(string(text), "@WEIR@", program)})
	}
	return out, nil
}

// WriteUnits writes the files into a folder; each is the old or the new one.
func WriteUnits(dir, program string) ([]string, error) {
	units, err := Units(program)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, u := range units {
		name := filepath.Join(dir, u.Name)
		if err := renameio.WriteFile(name, []byte(u.Text), 0o644, renameio.WithTempDir(dir)); err != nil {
			return out, fmt.Errorf("cannot write the unit %s: %w", u.Name, err)
		}
		if err := os.Chmod(name, 0o644); err != nil { // whatever the umask
			return out, fmt.Errorf("cannot write the unit %s: %w", u.Name, err)
		}
		out = append(out, name)
	}
	return out, nil
}
