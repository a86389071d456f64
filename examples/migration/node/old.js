// A server of the old fleet: socket.io 2 with socket.io-redis 5.
//
//   node old.js redis://…
"use strict";

const http = require("node:http").createServer();
const { chat, run } = require("./chat");

const io = require("socket.io-2")(http, { serveClient: false });
io.adapter(require("socket.io-redis-5")(process.argv[2])); // key: socket.io
chat(io);
io.of("/").adapter.subClient.unsubscribe("none", () => run(http)); // answered when it is subscribed
