// A server of the new fleet: socket.io 4 with @socket.io/redis-adapter 8.
//
//   node new.js redis://…
"use strict";

const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const http = require("node:http").createServer();
const { chat, run } = require("./chat");

async function main() {
  const pub = createClient({ url: process.argv[2] });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const io = new Server(http, {
    serveClient: false,
    adapter: createAdapter(pub, sub, { key: "socket.io-4" }), // a prefix of its own
  });
  chat(io);
  await sub.unsubscribe("none"); // answered when it is subscribed
  await run(http);
}

main();
