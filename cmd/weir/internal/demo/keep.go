package demo

import "context"

func (s *story) keep(ctx context.Context) error { return nil }
