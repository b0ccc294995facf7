package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/nft/netns"
)

// ftp serve: a passive FTP server on the outside host. ftp v4|v6: the client
// asks it for a data connection and reads it; "! ftp" does not get it.
func cmdFTP(ts *testscript.TestScript, neg bool, args []string) {
	lab := stageOf(ts).lab
	if args[0] == "serve" {
		for _, ip := range []string{netns.OutsideIP4, netns.OutsideIP6} {
			ts.Check(lab.Outside.ServeTCP(net.JoinHostPort(ip, "21"), func(c net.Conn) { ftpServe(lab.Outside, ip, c) }))
		}
		return
	}
	ip, ask := netns.OutsideIP4, "PASV"
	if args[0] == "v6" {
		ip, ask = netns.OutsideIP6, "EPSV"
	}
	control, err := lab.Client.Dial("tcp", net.JoinHostPort(ip, "21"), 3*time.Second)
	ts.Check(err)
	defer control.Close()
	ts.Check(control.SetReadDeadline(time.Now().Add(3 * time.Second)))
	lines := bufio.NewReader(control)
	_, err = lines.ReadString('\n')
	ts.Check(err)
	_, err = fmt.Fprintf(control, "%s\r\n", ask)
	ts.Check(err)
	line, err := lines.ReadString('\n')
	ts.Check(err)
	port, err := ftpPort(line)
	ts.Check(err)
	got := ""
	data, err := lab.Client.Dial("tcp", net.JoinHostPort(ip, strconv.Itoa(port)), time.Second)
	if err == nil {
		defer data.Close()
		ts.Check(data.SetReadDeadline(time.Now().Add(3 * time.Second)))
		all, rerr := io.ReadAll(data)
		got, err = string(all), rerr
	}
	if arrived := got == "a file"; arrived == neg {
		ts.Fatalf("the data connection to port %d brought %q (%v)", port, got, err)
	}
}

// ftpServe answers PASV (RFC 959) and EPSV (RFC 2428) with a port that serves one
// file.
func ftpServe(at *netns.NS, ip string, c net.Conn) {
	defer c.Close()
	if _, err := io.WriteString(c, "220 ready\r\n"); err != nil { // the kernel reads from the first whole line on
		return
	}
	for in := bufio.NewScanner(c); in.Scan(); {
		l, err := at.Listen(net.JoinHostPort(ip, "0"))
		if err != nil {
			return
		}
		go func() {
			defer l.Close()
			d, err := l.Accept()
			if err != nil {
				return
			}
			defer d.Close()
			io.WriteString(d, "a file") // the reader says what is missing
		}()
		port := l.Addr().(*net.TCPAddr).Port
		answer := fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)\r\n", port)
		if in.Text() == "PASV" {
			answer = fmt.Sprintf("227 Entering Passive Mode (%s,%d,%d)\r\n", strings.ReplaceAll(ip, ".", ","), port>>8, port&255)
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func ftpPort(line string) (int, error) {
	_, inside, _ := strings.Cut(line, "(")
	inside, _, ok := strings.Cut(inside, ")")
	if !ok {
		return 0, fmt.Errorf("%q names no port", line)
	}
	if strings.HasPrefix(inside, "|||") {
		return strconv.Atoi(strings.Trim(inside, "|"))
	}
	n := strings.Split(inside, ",")
	if len(n) != 6 {
		return 0, fmt.Errorf("%q names no port", line)
	}
	hi, err := strconv.Atoi(n[4])
	if err != nil {
		return 0, err
	}
	lo, err := strconv.Atoi(n[5])
	return hi<<8 | lo, err
}
