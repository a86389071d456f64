// One process of a fleet that sends numbered events and records those that it receives: a Socket.IO
// server with one client for each namespace. It reads operations from standard input, one JSON
// value a line, and reports on standard output.
//
//   in    {"op": "open", "nsp": "/a"}                               out  {"What": "open"}
//         {"op": "send", "nsp": "/a", "count": 100, "rate": 400}         {"What": "sent"}
//         {"op": "report", "nsp": "/a"}                                  {"What": "report", ...}
//
// A rate of 0 is as fast as Redis accepts them. The process exits when its input ends.
"use strict";

const readline = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const fault = (what, err) => say({ What: "fault", Text: `${what}: ${(err && err.stack) || err}` });

process.on("uncaughtException", (err, origin) => {
  fault(origin, err);
  process.exit(1);
});

// Records of what the other servers sent.
class Books {
  seen = new Set();
  last = 0;
  repeated = 0;
  disordered = 0;
  gap = 0;
  at = 0;

  take(number) {
    const now = performance.now();
    if (this.at > 0) this.gap = Math.max(this.gap, now - this.at);
    this.at = now;
    if (this.seen.has(number)) return void this.repeated++;
    if (number < this.last) this.disordered++;
    this.seen.add(number);
    this.last = Math.max(this.last, number);
  }

  report() {
    return {
      What: "report",
      Received: this.seen.size,
      Repeated: this.repeated,
      Disordered: this.disordered,
      Gap: Math.round(this.gap),
    };
  }
}

async function main() {
  const config = JSON.parse(process.argv[2]);
  const books = new Map();
  const report = ({ kind, inbox, args, reason }) => {
    if (kind === "disconnect") return fault("client", reason);
    const [sender, number] = args;
    if (sender !== config.name) books.get(inbox).take(number);
  };
  const server = await require("./generations/" + config.generation).create(config, { fault, report });
  const operations = {
    async open({ nsp }) {
      books.set(nsp, new Books());
      await server.namespace({ nsp });
      await server.connect({ nsp, name: nsp, rooms: ["room"] });
      say({ What: "open" });
    },
    async send({ nsp, count, rate }) {
      const emit = (number) => server.emit({ nsp, to: ["room"], event: "n", args: [config.name, number, "x".repeat(64)] });
      const began = performance.now();
      for (let sent = 0; sent < count; ) {
        const due = rate === 0 ? sent + 500 : Math.floor(((performance.now() - began) * rate) / 1000);
        while (sent < Math.min(due, count)) emit(++sent);
        if (rate === 0) await server.flush();
        else await sleep(2);
      }
      await server.flush();
      say({ What: "sent" });
    },
    report: ({ nsp }) => say(books.get(nsp).report()),
  };
  say({ What: "ready" });
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("close", () => process.exit(0));
  lines.on("line", (line) => {
    const { op, ...args } = JSON.parse(line);
    Promise.resolve(operations[op](args)).catch((err) => fault(op, err));
  });
}

main();
