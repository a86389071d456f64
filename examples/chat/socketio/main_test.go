package socketio_test

import (
	"testing"

	"github.com/crossroom/crossroom/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }
