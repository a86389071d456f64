//go:build linux

package outage_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// envNode and envBridge have the configuration of a node. A process with one of them is that node, and runs no tests.
const (
	envNode   = "CROSSROOM_OUTAGE_NODE"
	envBridge = "CROSSROOM_OUTAGE_BRIDGE"
)

func TestMain(m *testing.M) {
	var err error
	if text, ok := os.LookupEnv(envNode); ok {
		err = runAs[config](text)
	} else if text, ok := os.LookupEnv(envBridge); ok {
		err = runAs[bridgeConfig](text)
	} else {
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func runAs[C interface{ run() error }](text string) error {
	var c C
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	return c.run()
}
