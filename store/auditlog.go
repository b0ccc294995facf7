package store

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"weir/phases"
	"weir/phases/audit"
)

// The files of an audit log, in the folder of its journal.
const (
	AuditFile       = "audit.log"   // AuditVersion, then one leaf a line: a journal record's bytes
	CheckpointsFile = "checkpoints" // one signed checkpoint a line, oldest first
	AuditKeyFile    = "audit.key"   // the machine's private key, of mode 0600
)

// AuditVersion is the first line of an audit log.
const AuditVersion = "weir-audit-v1"

// ErrAudit is returned while the audit log cannot vouch for the journal.
var ErrAudit = errors.New("the audit log does not hold")

// AuditLog is the tamper-evident log of a journal's records. Its leaves are the
// journal's own bytes, so the two cannot say different things. The journal is
// written first; what the log lacks after a crash it takes from there. It is
// only ever appended to. It is not safe for concurrent use.
//
// A log that is damaged, or is not that of its journal, is left as it is: then
// Root, Extends and Checkpoint fail, and with them every approval, while the
// ways back go on.
type AuditLog struct {
	dir     string
	journal *Journal
	key     audit.Key
	f       *os.File
	end     int64 // of the file
	tree    audit.Tree
	signed  audit.Signed // the newest checkpoint
	lacked  uint64       // records that were under a checkpoint, and that the file lacked when it was opened
	broken  error
}

var _ phases.AuditLog = (*AuditLog)(nil)

// OpenAuditLog opens the log beside a journal, makes it where there is none,
// and brings it up to the journal. It never fails: Err says what is wrong.
func OpenAuditLog(dir string, j *Journal) *AuditLog {
	l := &AuditLog{dir: dir, journal: j}
	if err := l.open(); err != nil {
		l.broken = fmt.Errorf("%w: %w", ErrAudit, err)
	}
	return l
}

// Err says why the log does not hold; nil: it does.
func (l *AuditLog) Err() error { return l.broken }

// Lacked is how many records under a signed checkpoint the file lacked when it
// was opened. They were taken from the journal, and are the ones that were
// signed; a crash never takes that many.
func (l *AuditLog) Lacked() uint64 { return l.lacked }

func (l *AuditLog) open() error {
	if err := dropTorn(filepath.Join(l.dir, CheckpointsFile)); err != nil {
		return err
	}
	lines, err := ReadCheckpoints(l.dir)
	if err != nil {
		return err
	}
	if l.key, err = openKey(filepath.Join(l.dir, AuditKeyFile), len(lines) > 0); err != nil {
		return err
	}
	if len(lines) > 0 {
		last := lines[len(lines)-1]
		if l.signed, err = audit.ParseLine(last); err == nil {
			err = l.signed.Verify(l.key.PublicKey())
		}
		if err != nil {
			return fmt.Errorf("the newest line of %s: %w", CheckpointsFile, err)
		}
	}
	leaves, end, err := readLeaves(l.dir, true)
	if err != nil {
		return err
	}
	texts, err := l.journal.texts(1)
	if err != nil {
		return err
	}
	if words, at := audit.Differ(leaves, texts[:min(len(texts), len(leaves))]); at > 0 {
		return errors.New(words)
	}
	if l.f, err = os.OpenFile(filepath.Join(l.dir, AuditFile), os.O_RDWR, 0); err != nil {
		return err
	}
	if err := l.f.Truncate(end); err != nil { // a line that a crash tore off
		return err
	}
	for _, leaf := range leaves {
		l.tree.Append(leaf)
	}
	l.end = end
	if n := l.tree.Size(); l.signed.Size > n {
		l.lacked = l.signed.Size - n
	}
	if err := l.Follow(); err != nil {
		return err
	}
	if l.signed.Size > 0 {
		return l.extends(l.signed.Size, l.signed.Root)
	}
	return nil
}

// Follow appends the journal's records that the log lacks. They are on the disk
// when it returns without an error.
func (l *AuditLog) Follow() error {
	if l.broken != nil {
		return l.broken
	}
	texts, err := l.journal.texts(l.tree.Size() + 1)
	if err != nil || len(texts) == 0 {
		return err
	}
	var b bytes.Buffer
	for _, t := range texts {
		b.Write(t)
		b.WriteByte('\n')
	}
	_, err = l.f.WriteAt(b.Bytes(), l.end)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("cannot write the audit log: %w", errors.Join(err, l.f.Truncate(l.end)))
	}
	l.end += int64(b.Len())
	for _, t := range texts {
		l.tree.Append(t)
	}
	return nil
}

// Root is the log's size and root, with every record of the journal in it.
func (l *AuditLog) Root() (uint64, string, error) {
	if err := l.Follow(); err != nil {
		return 0, "", err
	}
	return l.tree.Size(), l.tree.Root(), nil
}

// Extends is nil where the log had this root when it had that many records.
func (l *AuditLog) Extends(size uint64, root string) error {
	if err := l.Follow(); err != nil {
		return err
	}
	return l.extends(size, root)
}

func (l *AuditLog) extends(size uint64, root string) error {
	switch got, err := l.tree.RootAt(size); {
	case err != nil:
		return fmt.Errorf("an older database was put back: %w", err)
	case got != root:
		return fmt.Errorf("another database was put back: of %d records the root was %s, and is %s", size, root, got)
	}
	return nil
}

// Checkpoint signs what the log is now and keeps it; false where nothing came
// since the last one.
func (l *AuditLog) Checkpoint(machine string, now time.Time) (audit.Signed, bool, error) {
	if err := l.Follow(); err != nil {
		return audit.Signed{}, false, err
	}
	if l.tree.Size() == l.signed.Size {
		return l.signed, false, nil
	}
	if machine == "" {
		machine = "-"
	}
	s, err := audit.Sign(audit.Checkpoint{Machine: machine, Size: l.tree.Size(), Root: l.tree.Root(), At: now}, l.key)
	if err != nil {
		return s, false, err
	}
	if err := appendSynced(filepath.Join(l.dir, CheckpointsFile), s.Line()); err != nil {
		return s, false, fmt.Errorf("cannot keep a checkpoint: %w", err)
	}
	l.signed = s
	return s, true, nil
}

// Signed is the newest checkpoint; its size is 0 where there is none.
func (l *AuditLog) Signed() audit.Signed { return l.signed }

// SignText signs another text with the machine's key; namespace says of which
// kind it is.
func (l *AuditLog) SignText(namespace string, text []byte) ([]byte, error) {
	if l.key == nil {
		return nil, l.broken
	}
	return audit.SignText(namespace, text, l.key)
}

// Key is the public key that checkpoints are verified with, nil where it cannot
// be read.
func (l *AuditLog) Key() audit.Public {
	if l.key == nil {
		return nil
	}
	return l.key.PublicKey()
}

// Close releases the file.
func (l *AuditLog) Close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}

// openKey reads the machine's key, or makes it once.
func openKey(path string, used bool) (audit.Key, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if used {
			return nil, fmt.Errorf("the machine's key %s is gone, and signed checkpoints are there: put it back, or move %s away to begin with another key", path, CheckpointsFile)
		}
		if data, err = audit.NewKey(rand.Reader); err == nil {
			err = write(path, data)
		}
	}
	if err != nil {
		return nil, err
	}
	return audit.ParseKey(data)
}

// readLeaves reads a log's lines, and where the last whole one ends. A log that
// is not there is made where make says so.
func readLeaves(dir string, make bool) ([][]byte, int64, error) {
	path := filepath.Join(dir, AuditFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && make {
		data = []byte(AuditVersion + "\n")
		err = write(path, data)
	}
	if err != nil {
		return nil, 0, err
	}
	head, body, ok := bytes.Cut(data, []byte("\n"))
	switch {
	case !ok || !bytes.HasPrefix(head, []byte("weir-audit-")):
		return nil, 0, fmt.Errorf("%w: %s does not begin with %s", ErrDamaged, path, AuditVersion)
	case string(head) != AuditVersion:
		return nil, 0, fmt.Errorf("%w: %s is of %q, this weir reads %q", ErrVersion, path, head, AuditVersion)
	}
	lines := bytes.Split(body, []byte("\n"))
	torn := len(lines[len(lines)-1])
	return lines[:len(lines)-1], int64(len(data) - torn), nil
}

// ReadCheckpoints reads the lines of the checkpoints' file, oldest first; none
// where there is no file. What a crash tore off at the end is a line of its own.
func ReadCheckpoints(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, CheckpointsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range bytes.Lines(data) {
		out = append(out, string(bytes.TrimSuffix(line, []byte("\n"))))
	}
	return out, nil
}

// ReadAuditLog reads a log's leaves.
func ReadAuditLog(dir string) ([][]byte, error) {
	leaves, _, err := readLeaves(dir, false)
	return leaves, err
}

// dropTorn cuts off the end of a line that a crash kept from being whole.
func dropTorn(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if end := bytes.LastIndexByte(data, '\n') + 1; err == nil && end < len(data) {
		err = os.Truncate(path, int64(end))
	}
	return err
}

// appendSynced adds a line to a file, which it makes where it is missing.
func appendSynced(path, line string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return write(path, []byte(line+"\n"))
	}
	return appendLine(path, line)
}

// ReadAuditKey reads the public half of the machine's key.
func ReadAuditKey(dir string) (audit.Public, error) {
	data, err := os.ReadFile(filepath.Join(dir, AuditKeyFile))
	if err != nil {
		return nil, err
	}
	key, err := audit.ParseKey(data)
	if err != nil {
		return nil, err
	}
	return key.PublicKey(), nil
}
