//go:build race

package memorybroker_test

const raceEnabled = true
