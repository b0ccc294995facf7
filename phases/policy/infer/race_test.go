//go:build race

package infer

// The race detector makes all work slower.
func init() { slower = 10 }
