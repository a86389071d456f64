// socket.io-redis 5 with socket.io 2.
"use strict";

const { createServer } = require("node:http");
const { Manager } = require("socket.io-client-2");
const { attach, listen } = require("../clients");
const redis = require("../redis");

async function create(config, { fault, report }) {
  const pub = await redis.version3(config.redis, fault);
  const sub = await redis.version3(config.redis, fault);
  const httpServer = createServer();
  const io = require("socket.io-2")(httpServer, { serveClient: false });
  io.adapter(
    require("socket.io-redis-5")({
      key: config.prefix,
      pubClient: pub.client,
      subClient: sub.client,
      requestsTimeout: config.requestsTimeout,
    }),
  );
  const url = await listen(httpServer);
  const clients = new Map();
  const adapter = (nsp) => io.of(nsp).adapter;

  const serverSocket = (client) => io.of(clients.get(client).nsp).connected[clients.get(client).id];

  // answer turns a call with a callback into a promise; what comes with an error
  // is kept beside it.
  const answer = (call) =>
    new Promise((resolve, reject) =>
      call((err, value) => (err ? reject(Object.assign(err, { responses: value })) : resolve(value))),
    );

  function target({ nsp, from, to = [], flags = [] }) {
    let target = io.of(nsp);
    if (from) {
      target = serverSocket(from);
      if (to.length === 0) target = target.broadcast;
    }
    for (const room of to) target = target.to(room);
    for (const flag of flags) target = flag === "nocompress" ? target.compress(false) : target[flag];
    return target;
  }

  return {
    async namespace({ nsp }) {
      adapter(nsp).customHook = (data, done) => done({ node: config.name, asked: data });
      adapter(nsp).on("error", (err) => fault("adapter", err));
      await sub.settle();
    },
    async connect({ nsp, name, rooms = [], answers, polling, frames }) {
      const socket = await attach(Manager, url, { nsp, name, answers, polling, frames }, report);
      clients.set(name, socket);
      if (rooms.length > 0) await answer((done) => serverSocket(name).join(rooms, done));
      return socket.id;
    },
    connect2(args) {
      return this.connect(args);
    },
    close({ name }) {
      clients.get(name).close();
      clients.delete(name);
    },
    flush: () => pub.flush(),
    uid: ({ nsp }) => adapter(nsp).uid,
    join: ({ client, rooms }) => answer((done) => serverSocket(client).join(rooms, done)),
    rooms: ({ client }) => Object.keys(adapter(clients.get(client).nsp).sids[clients.get(client).id] || {}),
    emit(args) {
      target(args).emit(args.event, ...args.args);
    },
    serverCount: ({ nsp }) => pub.subscribers(adapter(nsp).requestChannel),
    clients: ({ nsp, rooms }) => answer((done) => adapter(nsp).clients(rooms, done)),
    clientRooms: ({ nsp, id }) => answer((done) => adapter(nsp).clientRooms(id, done)),
    allRooms: ({ nsp }) => answer((done) => adapter(nsp).allRooms(done)),
    remoteJoin: ({ nsp, id, room }) => answer((done) => adapter(nsp).remoteJoin(id, room, done)),
    remoteLeave: ({ nsp, id, room }) => answer((done) => adapter(nsp).remoteLeave(id, room, done)),
    remoteDisconnect: ({ nsp, id, close }) => answer((done) => adapter(nsp).remoteDisconnect(id, close, done)),
    customRequest: ({ nsp, data }) => answer((done) => adapter(nsp).customRequest(data, done)),
    // What this generation's decoder makes of bytes.
    unpack: ({ bytes }) => require(require.resolve("notepack.io", { paths: [require.resolve("socket.io-redis-5")] })).decode(bytes),
  };
}

module.exports = { create };
