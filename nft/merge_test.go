package nft_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"weir/nft"
)

// A frozen step keeps its revision as JSON, in which rulesets are nft text.
func TestRevisionInJSON(t *testing.T) {
	want := nft.Revision{ID: "r0123456789ab", Skeleton: sample(), Ruleset: sample(), Entry: map[string]string{"f": "r0123456789ab_f"}, Groups: []string{"ws"}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got nft.Revision
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if err := json.Unmarshal([]byte(`{"Ruleset":"table inet weir {"}`), &got); err == nil {
		t.Error("half a table was read")
	}
}

func TestMerge(t *testing.T) {
	one, two := sample(), sample()
	got, err := nft.Merge(one, nft.Ruleset{}, two)
	if err != nil || !reflect.DeepEqual(got, one) {
		t.Errorf("%v\n%s", err, got)
	}
	extra := nft.Ruleset{Family: "inet", Table: "weir", Chains: []nft.Chain{{Name: "r2_f", Rules: []nft.Rule{nft.R(nft.Drop())}}}}
	got, err = nft.Merge(one, extra)
	if err != nil || len(got.Chains) != len(one.Chains)+1 || got.Chains[len(one.Chains)].Name != "r2_f" {
		t.Errorf("%v\n%s", err, got)
	}
	two.Chains[0].Rules = two.Chains[0].Rules[1:]
	if _, err := nft.Merge(one, two); err == nil {
		t.Error("a chain with two contents was merged")
	}
	two = sample()
	two.Sets[0].Size = 9
	if _, err := nft.Merge(one, two); err == nil {
		t.Error("a set with two contents was merged")
	}
	two.Table = "other"
	if _, err := nft.Merge(one, two); err == nil {
		t.Error("two tables were merged")
	}
}
