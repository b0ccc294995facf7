package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strings"

	"weir/cmd/weir/internal/api"
)

// Version is the first line of every summary, and the namespace of the
// signature over the manifest.
const Version = "weir-report-v1"

// The names of the parts that every report has. Further ones are "step-" and
// the 64 hex digits of a frozen step, and "allowed-" and those of a trust file.
const (
	Summary     = "summary"
	Openings    = "openings"
	Log         = "log"
	Checkpoints = "checkpoints"
	Machine     = "machine"
	manifest    = "manifest"
	signature   = "signature"
)

// Part is one part of a report.
type Part = api.ReportPart

// NewPart makes a part; a last line without an end gets one.
func NewPart(name string, text []byte) Part {
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(bytes.Clone(text), '\n')
	}
	sum := sha256.Sum256(text)
	return Part{Name: name, Text: text, Sum: hex.EncodeToString(sum[:])}
}

// Manifest is the text that the machine signs.
func Manifest(parts []Part) []byte {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%s  %s\n", p.Sum, p.Name)
	}
	return []byte(b.String())
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,100}$`)

// Write writes the report: the parts with all of their texts, the manifest, and
// the armoured signature over it. A part whose text is not what its sum says is
// an error.
func Write(w io.Writer, parts []Part, signed []byte) error {
	for _, p := range append(parts, NewPart(manifest, Manifest(parts)), NewPart(signature, signed)) {
		if NewPart(p.Name, p.Text).Sum != p.Sum || !nameForm.MatchString(p.Name) {
			return fmt.Errorf("cannot write the report: the part %q is not what the daemon signed; ask again", p.Name)
		}
		if _, err := fmt.Fprintf(w, "@@ %s %d\n", p.Name, bytes.Count(p.Text, []byte("\n"))); err != nil {
			return err
		}
		if _, err := w.Write(p.Text); err != nil {
			return err
		}
	}
	return nil
}

// Lines joins lines to a text.
func Lines[T ~string | ~[]byte](lines []T) []byte {
	var b bytes.Buffer
	for _, l := range lines {
		b.WriteString(string(l))
		b.WriteByte('\n')
	}
	return b.Bytes()
}
