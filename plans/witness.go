package plans

import (
	"fmt"
	"path/filepath"
)

// Witness is who must have been told of the audit log's checkpoints before
// anything counts as approved. The zero value: nobody.
type Witness struct {
	File   string // an absolute path, on another machine's disk best; lines are only added
	Syslog bool   // the machine's syslog, which takes them away
}

func (d *trustDecoder) witness(n *node) {
	if n == nil {
		return
	}
	d.fields(n, "witness", nil, "file", "syslog")
	if at := n.get("file"); at != nil {
		d.t.Witness.File = str(at)
		if !filepath.IsAbs(d.t.Witness.File) || at.kind != text {
			d.add(at, fmt.Sprintf("file wants an absolute path, not %q", clip(at.show())), "write file: /mnt/witness/weir")
		}
	}
	if at := n.get("syslog"); at != nil {
		d.t.Witness.Syslog = truth(at)
		if at.kind != boolean {
			d.add(at, "syslog wants true or false", "write true or false")
		}
	}
	if n.kind == mapping && len(n.keys) == 0 {
		d.add(n, "witness names nobody", "write witness: {file: /mnt/witness/weir}, or {syslog: true}")
	}
}
