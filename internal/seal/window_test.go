package seal

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func id(n int) (id [8]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

// However messages are overtaken and repeated, each is new exactly once, as long as its time lets it pass.
func TestWindowTakesEachMessageOnce(t *testing.T) {
	for _, rate := range []uint64{1, 50, 3000} { // messages in a millisecond
		random := rand.New(rand.NewPCG(rate, 1))
		var w window
		type sent struct {
			counter uint64
			at      int64
		}
		var waiting []sent
		counter := 1 + random.Uint64N(10_000)
		delivered, seen := map[uint64]bool{}, []sent{}
		for now := int64(1); now < 400_000; now += 500 {
			for range 4 { // of many, this node gets a few
				counter += 1 + random.Uint64N(rate*250)
				waiting = append(waiting, sent{counter, now})
			}
			random.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
			for len(waiting) > 8 {
				m := waiting[0]
				waiting = waiting[1:]
				fresh := w.fresh(id(1), m.counter, now)
				// What waits for longest here is overtaken by 30 s' messages.
				if rate*500*60 < maxWords*64 && m.counter > 10_000*2 {
					require.True(t, fresh, "message %d of %d ms ago, rate %d", m.counter, now-m.at, rate)
				}
				if fresh {
					require.False(t, delivered[m.counter])
					delivered[m.counter] = true
				}
				seen = append(seen, m)
			}
			for range 3 {
				if m := seen[max(0, len(seen)-1-random.IntN(200)):]; len(m) > 0 {
					require.False(t, w.fresh(id(1), m[0].counter, now), "message %d again", m[0].counter)
				}
			}
		}
	}
}

// What cannot be known is refused: nothing passes twice because memory is short.
func TestWindowIsBounded(t *testing.T) {
	var w window
	for n := range 3 * maxSigners {
		require.True(t, w.fresh(id(n), 1, 1))
		require.LessOrEqual(t, len(w.now)+len(w.old), 2*maxSigners)
	}
	total := func() (words int) {
		for _, all := range []map[[8]byte]*signer{w.now, w.old} {
			for _, s := range all {
				words += len(s.ring)
			}
		}
		return words
	}
	assert.Equal(t, total(), w.words)
	for n := range 3 * allWords / maxWords {
		require.True(t, w.fresh(id(n), 1<<40, 2))
		require.True(t, w.fresh(id(n), 1<<40+1<<33, 2))
		require.False(t, w.fresh(id(n), 1<<40, 2), "it is further behind than the largest ring")
		require.False(t, w.fresh(id(n), 1<<40+1<<33, 2))
	}
	assert.Equal(t, total(), w.words)
	assert.LessOrEqual(t, w.words, allWords+maxWords)
	w.fresh(id(-1), 1, 2+period)
	w.fresh(id(-1), 2, 2+2*period)
	assert.Equal(t, 1, len(w.now)+len(w.old), "signers that are not heard are forgotten")
	assert.Equal(t, firstWords, w.words)
}

// A ring that could not grow in time does not pretend to know what it had lost.
func TestRingThatGrowsLate(t *testing.T) {
	var w window
	w.words = allWords // no room
	require.True(t, w.fresh(id(1), 1, 1))
	require.True(t, w.fresh(id(1), 5000, 1))
	w.words = firstWords // there is room
	require.True(t, w.fresh(id(1), 5001, 1))
	require.Greater(t, len(w.now[id(1)].ring), firstWords)
	assert.False(t, w.fresh(id(1), 1, 1))
	assert.False(t, w.fresh(id(1), 5000, 1))
	assert.True(t, w.fresh(id(1), 4000, 1))
}

func TestClockThatIsSetBack(t *testing.T) {
	var w window
	require.True(t, w.fresh(id(1), 1, 10*period))
	require.True(t, w.fresh(id(2), 1, 1))
	require.True(t, w.fresh(id(2), 2, 1+period))
	require.True(t, w.fresh(id(2), 3, 1+2*period))
	assert.Nil(t, w.now[id(1)])
	assert.Nil(t, w.old[id(1)])
}

// A ring knows exactly the messages of its span: older ones share their bits with later ones, and do not pass.
func TestSpanOfARing(t *testing.T) {
	const high = 5000
	oldest := uint64(high - (firstWords-1)*64 + 1)
	var w window
	require.True(t, w.fresh(id(1), high, 1))
	require.Len(t, w.now[id(1)].ring, firstWords)
	for counter := uint64(high); counter > 700; counter-- {
		require.Equal(t, counter < high && counter >= oldest, w.fresh(id(1), counter, 1), "%d", counter)
	}
	for counter := uint64(700); counter <= high+200; counter++ {
		require.Equal(t, counter > high, w.fresh(id(1), counter, 1), "%d again", counter)
	}
}
