package monitor

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// WriteFlowsCSV writes the report of flows with a line of names first.
func WriteFlowsCSV(w io.Writer, ls []FlowLine) error {
	return writeCSV(w, len(ls), []string{"group", "client", "destination", "service", "state", "inbound", "opening", "excluded",
		"endpoints", "destinations", "days", "connections", "bytesOut", "bytesIn", "first", "last", "macs", "sources", "units"},
		func(i int) []string {
			l := ls[i]
			return []string{l.Group, addrText(l.Client), addrText(l.Destination), l.Service.String(), l.State,
				strconv.FormatBool(l.Inbound), l.Opening, l.Excluded, strconv.Itoa(l.Endpoints), strconv.Itoa(l.Destinations),
				strconv.Itoa(l.Days), number(l.Connections), number(l.BytesOut), number(l.BytesIn), timeText(l.First), timeText(l.Last),
				strings.Join(l.MACs, " "), strings.Join(l.Sources, " "), strings.Join(l.Units, " ")}
		})
}

// WritePortsCSV writes the report of ports.
func WritePortsCSV(w io.Writer, ls []PortLine) error {
	return writeCSV(w, len(ls), []string{"group", "service", "name", "used", "oneWay", "endpoints", "destinations", "days",
		"connections", "bytesOut", "bytesIn", "first", "last"},
		func(i int) []string {
			l := ls[i]
			return []string{l.Group, l.Service.String(), l.Name, strconv.FormatBool(l.Used), strconv.FormatBool(l.OneWay),
				strconv.Itoa(l.Endpoints), strconv.Itoa(l.Destinations), strconv.Itoa(l.Days), number(l.Connections),
				number(l.BytesOut), number(l.BytesIn), timeText(l.First), timeText(l.Last)}
		})
}

// WriteEndpointsCSV writes the report of endpoints.
func WriteEndpointsCSV(w io.Writer, ls []EndpointLine) error {
	return writeCSV(w, len(ls), []string{"group", "address", "mac", "state", "flows", "destinations", "services", "inbound",
		"bytesOut", "bytesIn", "inboundBytesOut", "first", "last"},
		func(i int) []string {
			l := ls[i]
			return []string{l.Group, addrText(l.Addr), l.MAC, l.State, strconv.Itoa(l.Flows), strconv.Itoa(l.Destinations),
				strconv.Itoa(l.Services), strconv.Itoa(l.Inbound), number(l.BytesOut), number(l.BytesIn), number(l.InboundOut),
				timeText(l.First), timeText(l.Last)}
		})
}

func writeCSV(w io.Writer, n int, names []string, line func(i int) []string) error {
	out := csv.NewWriter(w)
	err := out.Write(names)
	for i := 0; i < n && err == nil; i++ {
		cells := line(i)
		for j := range cells {
			cells[j] = cell(cells[j])
		}
		err = out.Write(cells)
	}
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	if err != nil {
		return fmt.Errorf("cannot write CSV: %w", err)
	}
	return nil
}

// cell keeps a spreadsheet from running a text as a formula (OWASP, "CSV
// Injection"), and a terminal from obeying it: names of units and interfaces come
// from elsewhere. What a terminal obeys becomes U+FFFD.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Me) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	begin, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \t\n\ufffd"))
	if strings.ContainsRune("=+-@|%\uff1d\uff0b\uff0d\uff20", begin) && begin != utf8.RuneError {
		return "'" + s
	}
	return s
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
