// A chat node on Node.js, as many teams run it today. It serves the same page and the same events
// as the Go server, and is in the same fleet over Redis.
//
//   node server.js --name node-1 --port 8083 --broker redis://127.0.0.1:6379 \
//     --nodes '[{"name":"go-1","url":"http://127.0.0.1:8081","kind":"go"}, ...]'
//
//   --host    address to listen on (127.0.0.1)
//   --port    port to listen on (any free one)
//   --prefix  channel prefix on Redis (socket.io)
//   --nodes   what GET /nodes.json answers: where the page finds the fleet
//   --page    directory of the page (../page)
//
// It prints "listening on http://host:port" when it accepts clients, and exits on SIGINT or
// SIGTERM.
"use strict";

const http = require("node:http");
const path = require("node:path");
const { once } = require("node:events");
const { parseArgs } = require("node:util");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { Fleet } = require("./fleet");
const { servePage } = require("./static");

const { values: flags } = parseArgs({
  options: {
    name: { type: "string", default: "node-1" },
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "0" },
    broker: { type: "string", default: "redis://127.0.0.1:6379" },
    prefix: { type: "string", default: "socket.io" },
    nodes: { type: "string", default: "[]" },
    page: { type: "string", default: path.join(__dirname, "..", "page") },
  },
});

async function main() {
  const redis = [createClient({ url: flags.broker }), createClient({ url: flags.broker })];
  for (const client of redis) client.on("error", (err) => console.error("redis:", err.message));
  await Promise.all(redis.map((client) => client.connect()));

  const server = http.createServer(servePage(flags.page, JSON.parse(flags.nodes)));
  const io = new Server(server, {
    adapter: createAdapter(...redis, { key: flags.prefix, requestsTimeout: 1500 }),
    maxHttpBufferSize: 1e6, // bytes of one message, as on the Go nodes
    serveClient: false, // the page has its own
  });
  chat(io.of("/chat"), flags.name);

  server.listen(Number(flags.port), flags.host);
  await once(server, "listening");
  console.log(`listening on http://${flags.host}:${server.address().port}`);

  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, async () => {
      await io.close();
      await Promise.allSettled(redis.map((client) => client.quit()));
      process.exit(0);
    });
  }
}

// chat registers the events of a namespace. node is this node's name in the fleet.
function chat(ns, node) {
  const fleet = new Fleet(ns, node);

  ns.use((socket, next) => {
    const name = socket.handshake.auth.name;
    if (typeof name !== "string" || name.trim() === "") return next(new Error("name required"));
    socket.data = { name: name.trim(), node };
    next();
  });

  ns.on("connection", (socket) => {
    const me = { id: socket.id, ...socket.data };
    socket.emit("node", { name: node });

    on(socket, "join", async (room) => {
      if (typeof room !== "string" || room === "") return { ok: false, error: "room required" };
      const fresh = !socket.rooms.has(room);
      await socket.join(room);
      if (fresh) socket.to(room).emit("joined", { room, member: me });
      return { ok: true, members: (await fleet.members(room)).members };
    });

    on(socket, "leave", async (room) => {
      await socket.leave(room);
      ns.to(room).emit("left", { room, member: me });
      return { ok: true };
    });

    on(socket, "say", (message) => {
      const { room, text, file, fileName } = message || {};
      if (!socket.rooms.has(room)) return { ok: false, error: "not in that room" };
      const from = { id: me.id, name: me.name };
      ns.to(room).emit("said", { room, from, node, text, file, fileName, at: Date.now() });
      return { ok: true };
    });

    on(socket, "members", async (room) => ({ ok: true, ...(await fleet.members(room)) }));

    on(socket, "kick", async (target) => {
      const { id } = target || {};
      const [victim] = typeof id === "string" ? await ns.in(id).fetchSockets() : [];
      if (!victim) return { ok: false, error: "no such member" };
      victim.emit("kicked", { by: me.name });
      victim.disconnect(); // on any node; the order is kept
      return { ok: true };
    });

    on(socket, "fleet", async () => ({ ok: true, ...(await fleet.ask()) }));

    socket.on("disconnecting", () => {
      for (const room of socket.rooms) {
        if (room !== socket.id) socket.to(room).emit("left", { room, member: me });
      }
    });
  });
}

// on acknowledges an event with the result of the handler. Clients can send anything: arguments may
// be missing, and so may the acknowledgement.
function on(socket, event, handler) {
  socket.on(event, async (...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : () => {};
    try {
      ack(await handler(args[0]));
    } catch (err) {
      ack({ ok: false, error: err.message });
    }
  });
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
