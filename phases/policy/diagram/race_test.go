//go:build race

package diagram

// The race detector makes all work slower.
func init() { slower = 10 }
