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
const { Fleet, PREFIX } = require("./fleet");
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

// RATE limits the events of a client, in each second, and BURST at once.
const RATE = 50;
const BURST = 2000;

// chat registers the events of a namespace. node is this node's name in the fleet.
function chat(ns, node) {
  const fleet = new Fleet(ns, node);

  ns.use((socket, next) => {
    const name = socket.handshake.auth.name;
    if (typeof name !== "string" || name.trim() === "" || name.length > 160) return next(new Error("name required"));
    socket.data = { id: socket.id, name: name.trim(), node, since: Date.now() };
    next();
  });

  ns.on("connection", (socket) => {
    const me = socket.data;
    const there = (room) => typeof room === "string" && socket.rooms.has(PREFIX + room);
    const notThere = { ok: false, error: "not in that room" };
    let left = BURST;
    let at = Date.now();
    socket.use((event, next) => {
      left = Math.min(BURST, left + ((Date.now() - at) * RATE) / 1000) - 1;
      at = Date.now();
      if (left < 0) socket.disconnect(true);
      else next();
    });
    socket.emit("node", { name: node });

    on(socket, "join", async (room) => {
      if (typeof room !== "string" || room === "" || room.length > 240 || socket.rooms.size > 100) {
        return { ok: false, error: "room required, or too many" };
      }
      const fresh = !there(room);
      await socket.join(PREFIX + room);
      if (fresh) socket.to(PREFIX + room).emit("joined", { room, member: me });
      return { ok: true, members: (await fleet.members(room)).members };
    });

    on(socket, "leave", async (room) => {
      if (there(room)) {
        await socket.leave(PREFIX + room);
        ns.to(PREFIX + room).emit("left", { room, member: me });
      }
      return { ok: true };
    });

    on(socket, "say", (message) => {
      const { room, text, file, fileName } = message || {};
      if (!there(room)) return notThere;
      ns.to(PREFIX + room).emit("said", { room, from: me, node, text, file, fileName, at: Date.now() });
      return { ok: true };
    });

    on(socket, "members", async (room) => (there(room) ? { ok: true, ...(await fleet.members(room)) } : notThere));

    // The first of a room's members may kick the others.
    on(socket, "kick", async (target) => {
      const { id, room } = target || {};
      if (!there(room)) return notThere;
      const members = await fleet.list(room);
      if (members[0]?.id !== me.id) return { ok: false, error: "only the room's first member may kick" };
      if (!members.some((member) => member.id === id)) return { ok: false, error: "no such member" };
      ns.in(id).emit("kicked", { by: me.name });
      ns.in(id).disconnectSockets(); // on any node; the order is kept
      return { ok: true };
    });

    on(socket, "fleet", async () => {
      const { nodes, missing } = await fleet.ask();
      return { ok: true, nodes: nodes.map((n) => ({ ...n, rooms: n.rooms.filter(there) })), missing };
    });

    socket.on("disconnecting", () => {
      for (const name of socket.rooms) {
        if (name.startsWith(PREFIX)) socket.to(name).emit("left", { room: name.slice(PREFIX.length), member: me });
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
