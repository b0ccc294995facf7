package nft

// Revision is the complete ruleset of one step, as nft/kernel loads it and as a
// frozen step keeps it. Nothing in it is computed again after it was frozen.
type Revision struct {
	ID       string            // "r" and 12 hex digits: the digest of everything below
	Skeleton Ruleset           // created where missing; objects whose names begin with "w_"
	Ruleset  Ruleset           // the revision's own sets (named by content) and chains (named "<ID>_…")
	Entry    map[string]string // hook letter ("f" forward, "o" output, "n" nat prerouting) → chain that trial and stable go to
	Groups   []string          // every group of the plan: each has the maps w_g_<group> and w_s_<group>
}

// The hook letters, in the order in which maps are written.
const (
	HookForward = "f"
	HookOutput  = "o"
	HookNAT     = "n"
)

// Names of the skeleton that more than one package needs.
const (
	TableName     = "weir"
	LayoutVersion = 1
	MarkerMap     = "w_marker" // ifname → mark: "layout", loaded set and revision names
	TxMap         = "w_tx"     // ifname → mark: one element, the last transaction's id and kind
	UnblockChain  = "w_unblocks"
	HoneypotSet   = "w_hp" // nf_proto with timeout: the lease of what is redirected; there is one where hook "n" is
)

// TrialMap and StableMap name the verdict maps of one hook letter; BackMap is
// the map that puts one group back to alert, SpareMap the one that spares its
// open connections.
func TrialMap(hook string) string    { return "w_trial_" + hook }
func StableMap(hook string) string   { return "w_stable_" + hook }
func BackMap(group string) string    { return "w_g_" + group }
func SpareMap(group string) string   { return "w_s_" + group }
func AlertChain(group string) string { return "w_a_" + group }
