package suggest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"weir/phases/flow"
)

// world is a made-up network whose classes are known. Everything follows from
// its seed.
type world struct {
	rand    *rand.Rand
	address func(i uint32) netip.Addr // of an endpoint
	outside func(i uint32) netip.Addr // of a server
	classes []kind
	class   []int // by endpoint
}

// kind is a class: who of it goes where.
type kind struct {
	name, group string
	share       int // of all endpoints, in weights
	core        []habitOf
	sites       int // of web sites that each visits, about
}

type habitOf struct {
	service flow.Service
	server  uint32
	usual   float64 // share of the class
}

func tcp(p uint16) flow.Service { return flow.Single(flow.TCP, p) }
func udp(p uint16) flow.Service { return flow.Single(flow.UDP, p) }

func v4(base uint32) func(uint32) netip.Addr {
	return func(i uint32) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base+i)))
	}
}

// newWorld makes n endpoints in three groups and 40 classes: desks that browse,
// servers with their partners, devices with one vendor each.
func newWorld(seed uint64, n int) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), address: v4(10 << 24), outside: v4(198 << 24)}
	ports := []uint16{22, 25, 389, 443, 587, 636, 993, 1433, 3306, 5432, 5671, 6514, 8080, 8443, 8883, 9092}
	server := uint32(1 << 20)
	specific := func(count int) (out []habitOf) {
		for range count {
			server += 1000 // far from the others
			out = append(out, habitOf{tcp(ports[w.rand.IntN(len(ports))]), server, 0.85 + 0.15*w.rand.Float64()})
		}
		return out
	}
	base := []habitOf{{udp(53), 1, 0.99}, {udp(123), 2000, 0.97}}
	for i := range 6 {
		k := kind{name: fmt.Sprint("desk", i), group: "desks", share: 6000 / (i + 1), core: append(specific(4+w.rand.IntN(6)), base...), sites: 20 + w.rand.IntN(15)}
		w.classes = append(w.classes, k)
	}
	for i := range 20 {
		k := kind{name: fmt.Sprint("server", i), group: "servers", share: 20 + 300/(i+1), core: append(specific(5+w.rand.IntN(12)), base...)}
		w.classes = append(w.classes, k)
	}
	for i := range 14 {
		k := kind{name: fmt.Sprint("device", i), group: "devices", share: 30 + 200/(i+1), core: append(specific(2+w.rand.IntN(3)), base[1])}
		w.classes = append(w.classes, k)
	}
	total := 0
	for _, k := range w.classes {
		total += k.share
	}
	for i, k := range w.classes {
		for range max(6, n*k.share/total) {
			w.class = append(w.class, i)
		}
	}
	w.rand.Shuffle(len(w.class), func(i, j int) { w.class[i], w.class[j] = w.class[j], w.class[i] })
	return w
}

// flows calls f with everything that every endpoint does, endpoint by endpoint.
func (w *world) flows(f func(Observation)) {
	site := rand.NewZipf(w.rand, 1.15, 8, 200000)
	var all []habitOf
	for _, k := range w.classes {
		all = append(all, k.core...)
	}
	for e, c := range w.class {
		k := w.classes[c]
		o := Observation{Group: k.group, Client: w.address(uint32(e))}
		send := func(h habitOf) {
			o.Server, o.Service = w.outside(h.server), h.service
			f(o)
		}
		for _, h := range k.core {
			if w.rand.Float64() < h.usual {
				send(h)
			}
		}
		if k.sites > 0 {
			for range k.sites/2 + w.rand.IntN(k.sites) {
				send(habitOf{tcp(443), 1<<24 + 331*uint32(site.Uint64()), 1})
				if w.rand.IntN(3) == 0 {
					send(habitOf{udp(443), 1<<24 + 331*uint32(site.Uint64()), 1})
				}
			}
		}
		if w.rand.IntN(20) == 0 { // now and then somebody does what others do
			send(all[w.rand.IntN(len(all))])
		}
	}
}

// agreement is the adjusted Rand index of two ways to sort the same things into
// classes: 1 where they are the same, about 0 where they have nothing to do
// with each other.
func agreement(a, b []int) float64 {
	cells, rows, columns := map[[2]int]float64{}, map[int]float64{}, map[int]float64{}
	for i := range a {
		cells[[2]int{a[i], b[i]}]++
		rows[a[i]]++
		columns[b[i]]++
	}
	two := func(n float64) float64 { return n * (n - 1) / 2 }
	var both, x, y float64
	for _, n := range cells {
		both += two(n)
	}
	for _, n := range rows {
		x += two(n)
	}
	for _, n := range columns {
		y += two(n)
	}
	chance := x * y / two(float64(len(a)))
	return (both - chance) / ((x+y)/2 - chance)
}
