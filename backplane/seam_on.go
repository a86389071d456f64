//go:build !crossroom_noseam

package backplane

// seam is false in a build without the observer, which exists only to be compared with
// in the benchmarks.
const seam = true
