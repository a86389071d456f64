// One process of a fleet under test: a Socket.IO server with real clients, or an emitter. It reads
// operations from standard input and writes reports to standard output, one JSON value a line. It
// exits when its input ends.
//
//   in    {"id": 1, "op": "emit", "args": {...}}
//   out   {"kind": "ready"}
//         {"kind": "result", "id": 1, "value": ...}
//         {"kind": "result", "id": 1, "error": "...", "value": the partial result}
//         {"kind": "event", "inbox": "...", "event": "...", "args": [...]}
//         {"kind": "disconnect", "inbox": "...", "reason": "..."}
//         {"kind": "fault", "what": "...", "error": "..."}
//
// A fault is what must never happen: an uncaught exception, an unhandled rejection, an error event.
// As in any server, the first two end the process.
"use strict";

const readline = require("node:readline");
const values = require("./values");

function report(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

function fault(what, err) {
  report({ kind: "fault", what, error: String((err && err.stack) || err) });
}

process.on("uncaughtException", (err, origin) => {
  fault(origin, err); // also for unhandledRejection
  process.exit(1);
});
process.on("warning", (warning) => {
  if (warning.name !== "DeprecationWarning") fault("warning", warning);
});

async function main() {
  const config = JSON.parse(process.argv[2]);
  const { create } = require("./generations/" + config.generation);
  const operations = await create(config, { fault, report: (m) => report({ ...m, args: values.encode(m.args) }) });
  report({ kind: "ready" });

  const lines = readline.createInterface({ input: process.stdin });
  lines.on("close", () => process.exit(0));
  lines.on("line", async (line) => {
    const { id, op, args } = JSON.parse(line);
    try {
      if (!operations[op]) throw new Error(`${config.generation} has no operation ${op}`);
      const value = await operations[op](values.decode(args));
      report({ kind: "result", id, value: values.encode(value) });
    } catch (err) {
      // Several operations fail with the responses so far.
      report({ kind: "result", id, error: err.message || String(err), value: values.encode(err.responses) });
    }
  });
}

main();
