// Some of the connections of a load run: stock clients over WebSocket, each in one room. The worker
// reads commands from standard input, and writes results to standard output, one JSON value a line.
//
//   node worker.js '{"urls": [...], "from": 0, "to": 1250, "rooms": 50, "rate": 100}'
//
//   out  {"connected": 1250}      all are connected and in their rooms
//   in   {"talk": 120}            say something each second, for so many seconds
//   out  {"sent": {"room 0": 120, ...}}
//   in   {"expect": {"room 0": 120, ...}, "patience": 20}
//   out  {"expected", "delivered", "twice", "disorder", "disconnects", "errors", "latency": [[tenths of a millisecond, count], ...]}
"use strict";

const path = require("node:path");
const readline = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");
const { io } = require(require.resolve("socket.io-client", { paths: [path.join(__dirname, "..", "node")] }));

const config = JSON.parse(process.argv[2]);
const tell = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const now = () => performance.timeOrigin + performance.now(); // the same clock in all processes

const members = [];
const latency = new Map();
const totals = { expected: 0, delivered: 0, twice: 0, disorder: 0, disconnects: 0, errors: [] };

async function connect(i) {
  const room = `room ${i % config.rooms}`;
  const socket = io(config.urls[i % config.urls.length] + "/chat", {
    transports: ["websocket"],
    forceNew: true,
    reconnection: false, // a lost client must be counted
    auth: { name: `user ${i}` },
  });
  const member = { socket, room, speaks: i < config.rooms, seen: 0 };
  members.push(member);
  socket.on("disconnect", () => totals.disconnects++);
  socket.on("said", ({ text }) => {
    const [number, at] = text.split(" ").map(Number); // numbers begin with 1, in each room
    totals.delivered++;
    if (number === member.seen) totals.twice++;
    else if (number !== member.seen + 1) totals.disorder++;
    member.seen = number;
    const bucket = Math.round((now() - at) * 10);
    latency.set(bucket, (latency.get(bucket) || 0) + 1);
  });
  await new Promise((done, failed) => socket.on("connect", done).on("connect_error", failed));
  const answer = await socket.timeout(30_000).emitWithAck("join", room);
  if (!answer.ok) throw new Error(answer.error);
}

async function connectAll() {
  const began = now();
  const all = [];
  for (let i = config.from; i < config.to; i++) {
    all.push(connect(i).catch((err) => totals.errors.push(`connect: ${err.message}`)));
    const ahead = began + ((i - config.from) * 1000) / config.rate - now();
    if (ahead > 0) await sleep(ahead);
  }
  await Promise.all(all);
  tell({ connected: members.filter(({ socket }) => socket.connected).length });
}

// talk makes this worker's speakers send a message each second, spread over the second.
async function talk(seconds) {
  const sent = {};
  const speakers = members.filter((member) => member.speaks);
  await Promise.all(speakers.map(async ({ socket, room }, i) => {
    const began = now() + (i * 1000) / speakers.length;
    for (let number = 1; number <= seconds; number++) {
      await sleep(Math.max(0, began + (number - 1) * 1000 - now()));
      sent[room] = number;
      socket.emit("say", { room, text: `${number} ${now()}` }, ({ ok, error }) => ok || totals.errors.push(`say: ${error}`));
    }
  }));
  tell({ sent });
}

async function settle(expect, patience) {
  totals.expected = members.reduce((sum, { room }) => sum + expect[room], 0);
  for (const deadline = now() + patience * 1000; totals.delivered < totals.expected && now() < deadline; ) await sleep(20);
  tell({ ...totals, errors: totals.errors.slice(0, 20), latency: [...latency] });
  process.exit(0);
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const order = JSON.parse(line);
  if (order.talk) talk(order.talk);
  if (order.expect) settle(order.expect, order.patience);
}).on("close", () => process.exit(0));
connectAll();
