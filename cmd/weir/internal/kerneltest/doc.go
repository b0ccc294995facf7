// Package kerneltest compares what the kernel does with packets with what the
// compiled rulesets say and with the oracle. It holds tests only.
package kerneltest
