package daemon

import (
	"bytes"
	"io"
)

// PlainLog is where log lines go: what slog's text quotes but leaves as it is, the
// character that deletes, is written as an escape.
func PlainLog(w io.Writer) io.Writer { return plainLog{w} }

type plainLog struct{ w io.Writer }

func (p plainLog) Write(line []byte) (int, error) {
	if _, err := p.w.Write(bytes.ReplaceAll(line, []byte{0x7f}, []byte(`\x7f`))); err != nil {
		return 0, err
	}
	return len(line), nil
}
