package zishang520

import (
	"testing"

	"github.com/crossroom/crossroom/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }
