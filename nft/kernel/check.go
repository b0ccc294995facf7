package kernel

import (
	"context"

	"weir/nft"
)

// Verify says whether the kernel holds every chain and set of a revision and of
// the skeleton that it needs, with as many rules and elements as were made. It
// changes nothing. nil means yes; the error names the first difference. It does
// not compare the rules' content.
func (k *Kernel) Verify(ctx context.Context, rev nft.Revision) error {
	s, err := k.state(ctx)
	if err != nil {
		return err
	}
	if s.dormant {
		return ErrDormant
	}
	if err := verifySkeleton(rev.Skeleton, s); err != nil {
		return err
	}
	return k.verify(ctx, rev, s)
}
