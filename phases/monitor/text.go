package monitor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"weir/phases/flow"
)

// The text form of evidence: JSON lines, the first a header. A newer version is
// refused, an unknown field too: nothing is read and ignored.
const (
	textFormat  = "weir-evidence"
	textVersion = 1
	maxLine     = 4 << 20 // bytes
)

// ErrNewer is returned when evidence was written by a newer weir.
var ErrNewer = errors.New("written by a newer weir; read it with that version")

type textHeader struct {
	Format   string `json:"format"`
	Version  int    `json:"version"`
	Timezone string `json:"timezone"` // that the days were counted in
}

type textLine struct {
	Flow     *textFlow    `json:"flow,omitempty"`
	Conn     *textConn    `json:"connection,omitempty"`
	Verdict  *textVerdict `json:"verdict,omitempty"`
	Host     *textHost    `json:"host,omitempty"`
	Opening  *Opening     `json:"opening,omitempty"`
	Excision *Excision    `json:"excision,omitempty"`
	Observed *Span        `json:"observed,omitempty"`
	Gap      *Gap         `json:"gap,omitempty"`
	Sent     *textSent    `json:"sent,omitempty"`
	Seen     *[2]uint64   `json:"seen,omitempty"` // bytes and packets that left and were witnessed
}

type textKey struct {
	Client  netip.Addr   `json:"client"`
	Server  netip.Addr   `json:"server"`
	Service flow.Service `json:"service"`
	Inbound bool         `json:"inbound,omitempty"`
	Opening string       `json:"opening,omitempty"`
}

type textEntry struct {
	First       time.Time        `json:"first"`
	Last        time.Time        `json:"last"`
	Days        Days             `json:"days"`
	Connections uint64           `json:"connections,omitempty"`
	Sights      uint64           `json:"sights,omitempty"`
	Imported    uint64           `json:"imported,omitempty"`
	BytesOut    uint64           `json:"bytesOut,omitempty"`
	BytesIn     uint64           `json:"bytesIn,omitempty"`
	PacketsOut  uint64           `json:"packetsOut,omitempty"`
	PacketsIn   uint64           `json:"packetsIn,omitempty"`
	Answered    bool             `json:"answered,omitempty"`
	Sure        bool             `json:"sure,omitempty"`
	Traced      bool             `json:"traced,omitempty"`
	Via         []Via            `json:"via,omitempty"`
	Sources     []string         `json:"sources,omitempty"`
	Asked       []netip.AddrPort `json:"asked,omitempty"`
}

type textFlow struct {
	textKey
	textEntry
}

type textVerdict struct {
	textKey
	Verdict flow.Verdict `json:"verdict"`
	Group   string       `json:"group"`
	Step    string       `json:"step,omitempty"`
	textEntry
}

type textConn struct {
	textKey
	ID         uint32    `json:"id"`
	SrcPort    uint16    `json:"srcPort,omitempty"`
	Zone       uint16    `json:"zone,omitempty"`
	First      time.Time `json:"first"`
	Last       time.Time `json:"last"`
	BytesOut   uint64    `json:"bytesOut,omitempty"`
	BytesIn    uint64    `json:"bytesIn,omitempty"`
	PacketsOut uint64    `json:"packetsOut,omitempty"`
	PacketsIn  uint64    `json:"packetsIn,omitempty"`
	Closed     bool      `json:"closed,omitempty"`
}

type textHost struct {
	Address netip.Addr `json:"address"`
	Via     []Via      `json:"via"`
}

type textSent struct {
	Iface string `json:"iface"`
	Sent
}

func keyText(f flow.Flow, inbound bool, opening string) textKey {
	return textKey{f.Client, f.Server, f.Service(), inbound, opening}
}

func (k textKey) key() (key, error) {
	s := k.Service
	if !k.Client.IsValid() || !k.Server.IsValid() || s.Proto == 0 {
		return key{}, errors.New("client, server or service is missing")
	}
	if k.Client.Unmap() != k.Client || k.Server.Unmap() != k.Server || k.Client.Zone() != "" || k.Server.Zone() != "" {
		return key{}, fmt.Errorf("address %s or %s is not in its plain form", k.Client, k.Server)
	}
	if s.Lo != s.Hi {
		return key{}, fmt.Errorf("service %s is more than one port", s)
	}
	return key{flow.Flow{Client: k.Client, Server: k.Server, Proto: s.Proto, Port: s.Lo}, k.Inbound, k.Opening}, nil
}

func entryText(e *entry) textEntry {
	return textEntry{e.first, e.last, e.days, e.conns, e.sights, e.imported, e.out, e.in, e.pout, e.pin,
		e.answered, e.sure, e.traced, e.via, e.sources, e.asked}
}

func (t textEntry) entry() *entry {
	e := &entry{}
	// Through merge, so that lists are sorted whatever the file says.
	e.merge(&entry{t.First.UTC(), t.Last.UTC(), t.Days, t.Connections, t.Sights, t.Imported, t.BytesOut, t.BytesIn,
		t.PacketsOut, t.PacketsIn, t.Answered, t.Sure, t.Traced, t.Via, t.Sources, t.Asked})
	return e
}

// Encode writes the evidence as text. The same evidence gives the same bytes.
func (e *Evidence) Encode(w io.Writer) error {
	b := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(textHeader{textFormat, textVersion, e.zone.String()})
	put := func(l textLine) {
		if err == nil {
			err = enc.Encode(l)
		}
	}
	for _, id := range sortedKeys(e.openings, strings.Compare) {
		o := e.openings[id]
		put(textLine{Opening: &o})
	}
	for i := range e.excluded {
		put(textLine{Excision: &e.excluded[i]})
	}
	for i := range e.observed {
		put(textLine{Observed: &e.observed[i]})
	}
	for i := range e.gaps {
		put(textLine{Gap: &e.gaps[i]})
	}
	for _, iface := range sortedKeys(e.sent, strings.Compare) {
		put(textLine{Sent: &textSent{iface, e.sent[iface]}})
	}
	if e.seen != [2]uint64{} {
		put(textLine{Seen: &e.seen})
	}
	for _, a := range sortedKeys(e.hosts, netip.Addr.Compare) {
		put(textLine{Host: &textHost{a, e.hosts[a]}})
	}
	for _, k := range sortedKeys(e.flows, compareKeys) {
		put(textLine{Flow: &textFlow{keyText(k.Flow, k.inbound, k.opening), entryText(e.flows[k])}})
	}
	for _, k := range sortedKeys(e.verdicts, compareVerdicts) {
		put(textLine{Verdict: &textVerdict{keyText(k.Flow, false, ""), k.verdict, k.group, k.step, entryText(e.verdicts[k])}})
	}
	for _, k := range sortedKeys(e.conns, compareConns) {
		c := e.conns[k]
		put(textLine{Conn: &textConn{keyText(k.Flow, c.key.inbound, c.key.opening), k.id, k.srcPort, k.zone,
			c.first, c.last, c.out, c.in, c.pout, c.pin, c.closed}})
	}
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		return fmt.Errorf("cannot write evidence: %w", err)
	}
	return nil
}

// Decode reads what Encode wrote. zone is that of the plan, for records that
// are added later; days stay as they were counted. It tracks nothing. Errors
// name the line; ErrNewer is returned for a version that this weir does not
// know.
func Decode(r io.Reader, zone *time.Location) (*Evidence, error) {
	e := bare(zone)
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	for s.Scan() {
		n++
		line := bytes.TrimSpace(s.Bytes())
		var err error
		switch {
		case n == 1:
			err = readHeader(line)
		case len(line) > 0:
			err = e.readLine(line)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read evidence: line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("cannot read evidence: line %d: %w", n+1, err)
	}
	if n == 0 {
		return nil, errors.New("cannot read evidence: it is empty; write one with \"weir flows --export FILE\"")
	}
	return e, nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value on a line")
	}
	return nil
}

func readHeader(b []byte) error {
	var h struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &h); err != nil || h.Format != textFormat {
		return errors.New(`this is no evidence of weir: want a first line with "format": "weir-evidence"`)
	}
	if h.Version > textVersion {
		return fmt.Errorf("format version %d: %w", h.Version, ErrNewer)
	}
	if h.Version < 1 {
		return fmt.Errorf("unknown format version %d", h.Version)
	}
	return strict(b, &textHeader{})
}

func (e *Evidence) readLine(b []byte) error {
	var l textLine
	if err := strict(b, &l); err != nil {
		return err
	}
	kinds := 0
	for _, is := range []bool{l.Flow != nil, l.Conn != nil, l.Verdict != nil, l.Host != nil, l.Opening != nil,
		l.Excision != nil, l.Observed != nil, l.Gap != nil, l.Sent != nil, l.Seen != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return errors.New("want exactly one of flow, connection, verdict, host, opening, excision, observed, gap, sent, seen")
	}
	switch {
	case l.Flow != nil:
		k, err := l.Flow.key()
		if err != nil {
			return err
		}
		e.mergeEntry(k, l.Flow.entry())
	case l.Verdict != nil:
		k, err := l.Verdict.key()
		if err != nil {
			return err
		}
		v := l.Verdict
		if !v.Verdict.Judged() {
			return fmt.Errorf("unknown verdict %q", v.Verdict)
		}
		e.mergeVerdict(verdictKey{k.Flow, v.Verdict, v.Group, v.Step}, v.entry())
	case l.Conn != nil:
		c := l.Conn
		k, err := c.key()
		if err != nil {
			return err
		}
		e.mergeConn(connKey{k.Flow, c.ID, c.SrcPort, c.Zone}, &conn{k, c.First.UTC(), c.Last.UTC(), c.BytesOut, c.BytesIn,
			c.PacketsOut, c.PacketsIn, c.Closed})
	case l.Host != nil:
		if a := l.Host.Address; !a.IsValid() || a != a.Unmap() || a.Zone() != "" {
			return fmt.Errorf("host address %s is missing or not in its plain form", a)
		}
		for _, v := range l.Host.Via {
			e.mergeHost(l.Host.Address, v)
		}
	case l.Opening != nil:
		e.Open(*l.Opening)
	case l.Excision != nil:
		if !l.Excision.Clients.IsValid() {
			return errors.New("an excision without clients")
		}
		e.Exclude(*l.Excision)
	case l.Observed != nil:
		e.Observed(l.Observed.From.UTC(), l.Observed.To.UTC())
	case l.Gap != nil:
		e.AddGap(*l.Gap)
	case l.Sent != nil:
		e.AddSent(l.Sent.Iface, l.Sent.Sent)
	case l.Seen != nil:
		e.addSeen(*l.Seen)
	}
	return nil
}
