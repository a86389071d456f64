//go:build !race

package otelbackplane_test

const raceEnabled = false
