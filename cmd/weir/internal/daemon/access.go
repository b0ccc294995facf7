package daemon

import (
	"os"
	"os/user"
	"slices"
	"strconv"

	"weir/cmd/weir/internal/api"
	"weir/cmd/weir/internal/exit"
	"weir/plans"
)

// Without "access" in the trust file, whoever may open the socket, which is
// root's and its group's, may ask for anything. With it everybody may open the
// socket, and each call is judged by the groups that the kernel says the caller
// had when it connected. Root may do everything; what is not in rights, only
// root may.

// everybody is the right of whoever may open the socket.
const everybody = "-"

// rights is what each verb needs.
var rights = map[string]string{
	"status": plans.MayRead, "history": plans.MayRead, "frozen": plans.MayRead, "leaktest": plans.MayRead, "preview": plans.MayRead, "explain": plans.MayRead,
	"statement": plans.MayRead, "trust": plans.MayRead, "unblocks": plans.MayRead, "audit": plans.MayRead, "frozenfile": plans.MayRead,

	"flows": plans.MayTraffic, "ports": plans.MayTraffic, "endpoints": plans.MayTraffic, "coverage": plans.MayTraffic, "evidence": plans.MayTraffic,
	"lines": plans.MayTraffic, "why": plans.MayTraffic, "refactor": plans.MayTraffic, "findings": plans.MayTraffic,
	"openings": plans.MayTraffic, "report": plans.MayTraffic,

	"apply": plans.MayOperate, "request": plans.MayOperate, "advance": plans.MayOperate, "confirm": plans.MayOperate, "rollback": plans.MayOperate,
	"noticed": plans.MayOperate, "pause": plans.MayOperate, "resume": plans.MayOperate, "restore": plans.MayOperate, "mend": plans.MayOperate, "accept": plans.MayOperate, "around": plans.MayRead, "remove": plans.MayOperate,
	"answer": plans.MayOperate, "unblock": plans.MayOperate, "end": plans.MayOperate, "drill": plans.MayOperate, "quarantine": plans.MayOperate,
	"notify": plans.MayOperate, "wider": plans.MayOperate,

	"ticket": everybody, // the ticket is the right

	"approve": plans.MayApprove, "trustfile": plans.MayApprove,
}

// access is who may what, by the number of a group. It is made by the loop and
// read by every call.
type access struct {
	groups map[string][]uint32 // right → groups; nil: no rights by group
}

// newAccess finds the groups of a trust file.
func newAccess(t *plans.Trust) *access {
	a := &access{}
	if t == nil || t.Access == nil {
		return a
	}
	a.groups = map[string][]uint32{}
	for right, names := range t.Access {
		for _, name := range names {
			id := name
			if g, err := user.LookupGroup(name); err == nil {
				id = g.Gid
			}
			if n, err := strconv.ParseUint(id, 10, 32); err == nil {
				a.groups[right] = append(a.groups[right], uint32(n))
			} // a group that this machine lacks has no members
		}
	}
	return a
}

// allow says whether a caller may ask for a verb.
func (a *access) allow(p api.Peer, verb string) error {
	if a == nil || a.groups == nil || p.UID == 0 {
		return nil
	}
	need := rights[verb]
	if need == everybody {
		return nil
	}
	for right, groups := range a.groups {
		if right != need && (need != plans.MayRead) { // every right lets one read
			continue
		}
		for _, g := range groups {
			if g == p.GID || slices.Contains(p.Groups, g) {
				return nil
			}
		}
	}
	if need == "" {
		need = "be root"
	}
	return exit.Errorf(exit.NoPerm, "%s may not %s: that needs the right %q", p.Name, verb, need).
		WithHint("the trust file gives rights to groups, under access")
}

// openSocket lets everybody in where each call is judged.
func (d *Daemon) openSocket(a *access) {
	mode := os.FileMode(0o660)
	if a.groups != nil {
		mode = 0o666
	}
	if info, err := os.Stat(d.cfg.Socket); err != nil || info.Mode().Perm() == mode {
		return // it is made after this
	}
	if err := os.Chmod(d.cfg.Socket, mode); err != nil {
		d.log.Error("cannot set who may open the socket", "error", err)
	}
}
