package plans

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed schema.json
var schemaText []byte

// Schema returns the JSON Schema (draft-07) that Parse checks against and that
// editors read. It has a field only when the program obeys it.
func Schema() []byte { return bytes.Clone(schemaText) }

var compiled = sync.OnceValue(func() *jsonschema.Schema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		panic("the embedded schema is not JSON: " + err.Error())
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:weir:plan:v1", doc); err != nil {
		panic("the embedded schema has no place: " + err.Error())
	}
	return c.MustCompile("urn:weir:plan:v1")
})

// checkSchema notes what the schema refuses. Patterns are noted last, by
// shape(), and only where reading the value found nothing more telling.
func (r *reader) checkSchema(root *node) (patterns []schemaFault) {
	err := compiled().Validate(root.value())
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		r.addAt(0, 0, "the plan cannot be checked: "+firstLine(err.Error()), "")
		return nil
	}
	var faults []schemaFault
	leaves(ve, &faults)
	for _, f := range faults {
		n := root.at(f.path)
		switch f.kind.(type) {
		case *kind.PropertyNames:
			continue // the decoder reads every name
		case *kind.Pattern, *kind.MinLength, *kind.MaxLength:
			patterns = append(patterns, f)
			continue
		}
		if r.atNode[n] && n.kind == nothing {
			continue // an alias or the like, already noted
		}
		r.fault(n, f)
	}
	return patterns
}

type schemaFault struct {
	path []string
	kind jsonschema.ErrorKind
}

func leaves(e *jsonschema.ValidationError, out *[]schemaFault) {
	if p, ok := e.ErrorKind.(*kind.PropertyNames); ok {
		*out = append(*out, schemaFault{e.InstanceLocation, p})
		return
	}
	if len(e.Causes) == 0 {
		*out = append(*out, schemaFault{e.InstanceLocation, e.ErrorKind})
		return
	}
	for _, c := range e.Causes {
		leaves(c, out)
	}
}

// later are fields of parts that do not exist yet.
var later = map[string]bool{
	"signers": true, "review": true, "lossLimits": true, "names": true,
	"peers": true,
}

// fault puts a schema error into words.
func (r *reader) fault(n *node, f schemaFault) {
	field := fieldName(f.path)
	switch k := f.kind.(type) {
	case *kind.AdditionalProperties:
		for _, p := range k.Properties {
			key := n.key(p)
			switch {
			case later[p]:
				r.add(key, fmt.Sprintf("%q belongs to a later version", p), "weir does not obey this field yet: remove it")
			case looksLikeAddress(p):
				r.add(key, fmt.Sprintf("%q is a key here", clip(p)), "quote IPv6 addresses")
			default:
				r.add(key, fmt.Sprintf("unknown field %q", clip(p)), didYouMean(p, knownFields(f.path), "remove it; fields here are "))
			}
		}
	case *kind.Required:
		what := make([]string, len(k.Missing))
		for i, m := range k.Missing {
			what[i] = fmt.Sprintf("%q", m)
		}
		r.add(n, fmt.Sprintf("%s lacks %s", orPlan(field), strings.Join(what, ", ")), "add "+exampleOf(k.Missing))
	case *kind.Type:
		r.wrongType(n, field, k.Want)
	case *kind.Enum:
		want := make([]string, len(k.Want))
		for i, w := range k.Want {
			want[i] = fmt.Sprint(w)
		}
		if s, ok := k.Got.(string); ok {
			r.add(n, fmt.Sprintf("%s cannot be %q", field, clip(s)), didYouMean(s, want, "write one of "))
			return
		}
		r.wrongType(n, field, []string{"string"}, "write one of "+strings.Join(want, ", "))
	case *kind.Const:
		r.add(n, fmt.Sprintf("%s must be %v", field, k.Want), fmt.Sprintf("write %s: %v", field, k.Want))
	case *kind.MinItems:
		r.add(n, fmt.Sprintf("%s has too few entries", field), fmt.Sprintf("write at least %d", k.Want))
	case *kind.MinProperties:
		r.add(n, fmt.Sprintf("%s is empty", orPlan(field)), "write at least one entry")
	case *kind.UniqueItems:
		if n.kind == list && k.Duplicates[1] < len(n.vals) {
			d := n.vals[k.Duplicates[1]]
			r.add(d, fmt.Sprintf("%s holds %s twice", field, clip(d.show())), "remove one of them")
		}
	case *kind.Minimum:
		r.add(n, fmt.Sprintf("%s is %s", field, n.show()), "write at least "+k.Want.RatString())
	case *kind.Maximum:
		r.add(n, fmt.Sprintf("%s is %s", field, n.show()), "write at most "+k.Want.RatString())
	default:
		r.add(n, fmt.Sprintf("%s is not as the schema wants it", orPlan(field)), "see weir check --schema")
	}
}

// shape notes what patterns refuse and nothing else did.
func (r *reader) shape(root *node, faults []schemaFault) {
	for _, f := range faults {
		n, field := root.at(f.path), fieldName(f.path)
		if r.atNode[n] {
			continue
		}
		switch k := f.kind.(type) {
		case *kind.MinLength:
			r.add(n, fmt.Sprintf("%s is empty, or too short", field), "write it out, or leave it out")
		case *kind.MaxLength:
			r.add(n, fmt.Sprintf("%s has more than %d characters", field, k.Want), "write less")
		default:
			hint := "see weir check --schema for its form"
			if field == "interfaces" {
				hint = "write a name of 1 to 15 characters without spaces, slashes and colons, as ip link shows it"
			}
			r.add(n, fmt.Sprintf("%s cannot hold %q", field, clip(n.show())), hint)
		}
	}
}

var typeWords = map[string]string{"string": "text", "integer": "a number", "number": "a number", "boolean": "true or false", "array": "a list", "object": "a map", "null": "nothing"}

func (r *reader) wrongType(n *node, field string, want []string, hint ...string) {
	if r.atNode[n] {
		return
	}
	words := make([]string, len(want))
	for i, w := range want {
		words[i] = typeWords[w]
	}
	h := "see weir check --schema"
	only := want[0]
	switch {
	case len(hint) > 0:
		h = hint[0]
	case n.kind == mapping && only != "object" && n.flowAddress():
		h = "quote IPv6 addresses"
	case n.kind == nothing:
		h = "write a value, or remove the line"
	case only == "array" && n.kind != mapping:
		h = fmt.Sprintf("write [%s]", clip(n.show()))
	case only == "string" && n.kind == number && durationFields[field]:
		h = fmt.Sprintf("write a unit: %ss, %sm, %sh or %sd", n.text, n.text, n.text, n.text)
	case only == "string" && n.kind == number && (field == "share" || field == "witnessed" || field == "unseen"):
		h = fmt.Sprintf("write %s%%", n.text)
	case only == "string" && (n.kind == number || n.kind == boolean):
		h = fmt.Sprintf("quote it: %q", n.show())
	case only == "integer" && n.kind == text && n.plain && plainInteger.MatchString(n.text):
		h = "write a smaller number"
	case only == "integer" && n.kind == text && plainInteger.MatchString(n.text):
		h = "write it without quotes"
	case only == "integer":
		h = "write a whole number"
	case only == "boolean":
		h = "write true or false"
	case only == "object":
		h = "write key: value lines, or {key: value}"
	}
	r.add(n, fmt.Sprintf("%s wants %s, not %s", orPlan(field), strings.Join(words, " or "), n.kind), h)
}

var durationFields = map[string]bool{"minimum": true, "maximum": true, "quiet": true, "brownouts": true, "drainFor": true,
	"soak": true, "shadow": true, "longest": true, "expireAfter": true, "confirmWithin": true, "every": true, "within": true, "before": true, "after": true}

// fieldName is the last name in an instance location: "rulesBy", or for an
// item of a list the list's name.
func fieldName(path []string) string {
	for _, p := range slices.Backward(path) {
		if p != "" && (p[0] < '0' || p[0] > '9') {
			return p
		}
	}
	return ""
}

func orPlan(field string) string {
	if field == "" {
		return "the plan"
	}
	return field
}

var examples = map[string]string{
	"apiVersion": "apiVersion: weir/v1", "kind": "kind: RolloutPlan", "metadata": "metadata: {name: my-plan, owner: me@example.net}",
	"scope": "scope: {hooks: [forward], inside: {prefixes: [10.0.0.0/16]}}", "groups": "groups: {desks: {members: [10.0.1.0/24]}}",
	"enforce": "enforce: {waves: []}", "hooks": "hooks: [forward]", "waves": "waves: [] and list the groups in leaveOpen",
	"cron": `cron: "0 9 * * MON-THU"`, "after": "after: 6h", "from": "from: [inside]", "to": "to: [outside]", "services": "services: [tcp/443]",
	"owner": "owner: me@example.net", "url": "url: https://alerts.example.net/weir", "name": "name: my-name", "steps": `steps: "*"`, "expect": "expect: denied",
}

func exampleOf(missing []string) string {
	out := make([]string, len(missing))
	for i, m := range missing {
		if out[i] = examples[m]; out[i] == "" {
			out[i] = m + ": …"
		}
	}
	return strings.Join(out, " · ")
}
