package capture

import "weir/phases/flow"

// units finds the systemd unit of a sending socket.
type units struct{ opt Options }

func newUnits(opt Options) *units { return &units{opt: opt} }

func (u *units) of(flow.Record) string { return "" }
