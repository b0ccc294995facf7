package infer

import (
	"cmp"
	"slices"

	"weir/phases/policy/diagram"
)

// Role is users and permissions: each user of it has each of them.
type Role struct {
	Users, Permissions []int // in order
}

// Roles returns few roles that together give each user exactly the permissions
// of the pairs (user, permission), and the number below which there can be
// none. Users and permissions are any numbers from 0 on.
func Roles(pairs [][2]int) (roles []Role, bound int, err error) {
	users, perms := map[int][]int{}, map[int]bool{}
	for _, p := range pairs {
		users[p[0]] = append(users[p[0]], p[1])
		perms[p[1]] = true
	}
	columns := make([]int, 0, len(perms))
	for p := range perms {
		columns = append(columns, p)
	}
	slices.Sort(columns)
	at := map[int]int{}
	for i, p := range columns {
		at[p] = i
	}
	rows := make([]int, 0, len(users))
	for u := range users {
		rows = append(rows, u)
	}
	slices.Sort(rows)
	g := &grid{f: diagram.NewForest(0), dims: make([]gridDim, 2)}
	from := diagram.NewForest(0)
	var runs []diagram.Run
	for i, u := range rows {
		list := users[u]
		slices.Sort(list)
		var line []diagram.Run
		next := 0 // first column not yet in the line
		for _, p := range slices.Compact(list) {
			if c := at[p]; c > next {
				line = append(line, diagram.Run{Hi: uint32(c - 1), Child: diagram.None})
			}
			next = at[p] + 1
			line = append(line, diagram.Run{Hi: uint32(next - 1), Child: diagram.Terminal(1)})
		}
		if next < len(columns) {
			line = append(line, diagram.Run{Hi: uint32(len(columns) - 1), Child: diagram.None})
		}
		n, err := from.Decide(1, line)
		if err != nil {
			return nil, 0, err
		}
		runs = append(runs, diagram.Run{Hi: uint32(i), Child: n})
	}
	if len(runs) == 0 {
		return nil, 0, nil
	}
	set, err := from.Decide(0, runs)
	if err != nil {
		return nil, 0, err
	}
	if err := g.fromClasses(from, set, [][]int32{make([]int32, len(rows)), make([]int32, len(columns))}); err != nil {
		return nil, 0, err
	}
	boxes, bound, err := g.cover(0)
	if err != nil {
		return nil, 0, err
	}
	for _, b := range boxes {
		var r Role
		b[0].each(func(c uint32) bool {
			for _, a := range g.dims[0].classes[c] {
				r.Users = append(r.Users, rows[a])
			}
			return true
		})
		b[1].each(func(c uint32) bool {
			for _, a := range g.dims[1].classes[c] {
				r.Permissions = append(r.Permissions, columns[a])
			}
			return true
		})
		slices.Sort(r.Users)
		slices.Sort(r.Permissions)
		roles = append(roles, r)
	}
	slices.SortFunc(roles, func(a, b Role) int {
		return cmp.Or(slices.Compare(a.Users, b.Users), slices.Compare(a.Permissions, b.Permissions))
	})
	return roles, bound, nil
}
