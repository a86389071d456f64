//go:build linux

package outage_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// envNode has the configuration of a node. A process that finds it is that node, and
// runs no tests.
const envNode = "CROSSROOM_OUTAGE_NODE"

func TestMain(m *testing.M) {
	text, isNode := os.LookupEnv(envNode)
	if !isNode {
		os.Exit(m.Run())
	}
	var c config
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}
