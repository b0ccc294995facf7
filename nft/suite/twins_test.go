package suite_test

import (
	"fmt"
	"testing"

	"weir/nft/suite"
)

// The fake is trusted by the tests of the rollout machine: it must answer as
// the kernel does, in every order.
func TestFakeIsTheKernelsTwin(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			suite.Twins(t, startFake(t), startKernel(t), seed, 40)
		})
	}
}
