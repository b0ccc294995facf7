package netns_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"weir/nft/netns"
)

// TestMain is also the program that TestWithoutRoot runs as another user.
func TestMain(m *testing.M) {
	if os.Getenv("NETNS_TEST_AS_USER") == "" {
		os.Exit(m.Run())
	}
	code, done, err := netns.EnsureUserns()
	if done {
		os.Exit(code)
	}
	if err == nil {
		err = useLab()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("lab works as uid", os.Getuid())
	os.Exit(7)
}

func useLab() error {
	l, err := netns.NewLab()
	if err != nil {
		return err
	}
	err = l.Outside.EchoTCP(netns.OutsideIP4+":443", "["+netns.OutsideIP6+"]:443")
	if err == nil {
		err = errors.Join(
			l.Client.Try("tcp", netns.OutsideIP4+":443", time.Second),
			l.Client.Try("tcp", "["+netns.OutsideIP6+"]:443", time.Second),
			l.Client.Ping(netns.OutsideIP4, time.Second),
			l.Client.Ping(netns.OutsideIP6, time.Second))
	}
	return errors.Join(err, l.Close())
}
