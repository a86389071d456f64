// Two servers with the sharded adapter on a cluster: one sends numbered events to rooms, and a client of the other one,
// which is in all rooms, counts them. Reads commands from stdin, a JSON object a line, and writes a JSON object for each.
"use strict";

const { createServer } = require("http");
const { once } = require("events");
const readline = require("readline");
const { createCluster } = require("redis");
const { createShardedAdapter } = require("@socket.io/redis-adapter");
const { Server } = require("socket.io");
const { io } = require("socket.io-client");

const config = JSON.parse(process.argv[2]); // {addrs, prefix, rooms}
const errors = new Map(); // what the clients report
let rejections = 0; // unhandled: each of them ends a process of Node.js, unless it says otherwise, as this one does
const note = (err) => {
  const text = String((err && err.message) || err).replace(/[0-9.:]{5,}/g, "…");
  errors.set(text, (errors.get(text) || 0) + 1);
};
process.on("unhandledRejection", (err) => {
  rejections++;
  note(err);
});

async function server() {
  const make = async () => {
    const c = createCluster({ rootNodes: config.addrs.map((a) => ({ url: "redis://" + a })) });
    c.on("error", note);
    await c.connect();
    return c;
  };
  const http = createServer();
  const [pub, sub] = [await make(), await make()];
  const s = new Server(http, { adapter: createShardedAdapter(pub, sub, { channelPrefix: config.prefix }) });
  await new Promise((ok) => http.listen(0, "127.0.0.1", ok));
  return { io: s, port: http.address().port };
}

const sleep = (ms) => new Promise((ok) => setTimeout(ok, ms));

(async () => {
  const from = await server();
  const to = await server();
  const client = io(`http://127.0.0.1:${to.port}`, { transports: ["websocket"] });
  const [socket] = await once(to.io, "connection");
  const rooms = [];
  const sent = new Map();
  const last = new Map();
  let delivered = 0;
  client.on("n", (room, n) => {
    if (n > (last.get(room) || 0)) {
      last.set(room, n);
      delivered++;
    }
  });
  const join = (list) => {
    rooms.push(...list);
    socket.join(list);
  };
  const send = (room, fill) => {
    const n = (sent.get(room) || 0) + 1;
    sent.set(room, n);
    from.io.to(room).emit("n", room, n, fill);
  };
  const deaf = () => rooms.filter((r) => (last.get(r) || 0) < (sent.get(r) || 0)).length;
  // settle sends to all rooms until each receives, for a time.
  const settle = async (ms) => {
    for (const end = Date.now() + ms; ; ) {
      rooms.forEach((r) => send(r));
      await sleep(200);
      if (deaf() === 0 || Date.now() > end) return;
    }
  };
  let timer;
  const commands = {
    join: ({ rooms }) => join(rooms),
    settle: ({ ms }) => settle(ms),
    load: () => {
      timer = setInterval(() => rooms.forEach((r) => send(r)), 10);
    },
    stop: () => clearInterval(timer),
    big: ({ room }) => send(room, "x".repeat(300 << 10)),
  };
  const report = (extra) => {
    const total = [...sent.values()].reduce((a, b) => a + b, 0);
    console.log(JSON.stringify({ sent: total, delivered, deaf: deaf(), rejections, errors: [...errors], ...extra }));
  };
  join(config.rooms);
  await settle(config.ms);
  report();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    await commands[command.op](command);
    report();
  }
  process.exit(0);
})();
