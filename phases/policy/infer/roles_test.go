package infer

import (
	"math/rand/v2"
	"testing"
)

// same says whether roles give exactly the pairs.
func same(t *testing.T, pairs [][2]int, roles []Role) {
	t.Helper()
	want, got := map[[2]int]bool{}, map[[2]int]bool{}
	for _, p := range pairs {
		want[p] = true
	}
	for _, r := range roles {
		for _, u := range r.Users {
			for _, p := range r.Permissions {
				got[[2]int{u, p}] = true
				if !want[[2]int{u, p}] {
					t.Fatalf("user %d gets permission %d, which he has not", u, p)
				}
			}
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d pairs, want %d", len(got), len(want))
	}
}

// TestRolesAreFound plants roles and finds no more than were planted.
func TestRolesAreFound(t *testing.T) {
	if roles, bound, err := Roles(nil); len(roles) != 0 || bound != 0 || err != nil {
		t.Errorf("of nothing: %v %d %v", roles, bound, err)
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 31))
		n := 2 + r.IntN(8)
		var pairs [][2]int
		for role := range n {
			for range 3 + r.IntN(8) {
				u := r.IntN(60)
				for p := range 4 {
					pairs = append(pairs, [2]int{u, role*3 + p}) // neighbours share a permission
				}
			}
		}
		roles, bound, err := Roles(pairs)
		if err != nil {
			t.Fatal(err)
		}
		same(t, pairs, roles)
		if len(roles) > n || bound > len(roles) {
			t.Errorf("seed %d: %d roles, at least %d; %d were planted", seed, len(roles), bound, n)
		}
	}
}
