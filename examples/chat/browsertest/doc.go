// Package browsertest opens the chat example's page in a real browser: headless
// Chromium, driven over the DevTools protocol, against fleets of real processes.
//
//	fleet := browsertest.StartFleet(t, "go", "go", "node") // with a redis-server
//	browser := browsertest.StartBrowser(t)
//	ada := browser.Open(t, fleet.Nodes[0], "ada", "lobby")
//	ada.Say("hello")
//
// Everything ends with the test. What is not on this machine (Chromium, redis-server,
// Node.js with the packages of ../node) skips the test as internal/servers does, or
// fails it where everything must be run.
package browsertest
