//go:build crossroom_noseam

package backplane

const seam = false
