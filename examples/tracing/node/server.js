// The Node.js member of the fleet: socket.io with @socket.io/redis-adapter, a few real
// clients, and a courier that answers each order with a broadcast of its own.
//
//   node server.js '{"redis": "redis://…", "collector": "http://…", "clients": 3}'
//
// It prints "ready" when all clients are connected, and exits when its input ends.
"use strict";

const { once } = require("node:events");
const { createServer } = require("node:http");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const tracing = require("./tracing");

async function main() {
  const { redis, collector, clients } = JSON.parse(process.argv[2]);
  const service = "courier-node";
  const provider = tracing.start(service, collector);

  const pub = createClient({ url: redis });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const http = createServer();
  const io = new Server(http, { adapter: createAdapter(pub, sub, { parser: tracing.parser(service) }) });
  const shop = io.of("/shop");
  shop.on("connection", (socket) => socket.join("orders"));
  tracing.traceDeliveries(service, ({ data: [event, order] }) => {
    if (event === "order") shop.to("orders").emit("on its way", order);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");

  const sockets = [];
  for (let i = 0; i < clients; i++) {
    const socket = connect(`http://127.0.0.1:${http.address().port}/shop`, { transports: ["websocket"] });
    await once(socket, "connect");
    sockets.push(socket);
  }
  await sub.unsubscribe("none"); // answered after the subscriptions before it
  process.stdout.write("ready\n");

  process.stdin.resume();
  await once(process.stdin, "end");
  for (const socket of sockets) socket.close();
  await provider.shutdown(); // exports what is left
  process.exit(0);
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
