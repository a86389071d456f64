// Package browsertest opens the chat example's page in a real browser: headless Chromium, controlled over the DevTools
// protocol, against fleets of real processes.
//
//	fleet := browsertest.StartFleet(t, "go", "go", "node") // with a redis-server
//	browser := browsertest.StartBrowser(t)
//	ada := browser.Open(t, fleet.Nodes[0], "ada", "lobby")
//	ada.Say("hello")
//
// Everything ends with the test. If a program is missing (Chromium, redis-server, Node.js with the packages of
// ../node), the test is skipped or fails like those of internal/servers.
package browsertest
