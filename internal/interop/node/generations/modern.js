// What a server of socket.io 4 does, whichever adapter it has.
"use strict";

const { createServer } = require("node:http");
const { Manager } = require("socket.io-client");
const { Manager: Manager2 } = require("socket.io-client-2");
const { attach, listen } = require("../clients");

const plain = ({ id, handshake, rooms, data }) => ({ id, handshake, rooms: [...rooms], data });

// serve makes the operations of a server. settle resolves when the subscriptions
// asked for so far are live; flush when what was published so far is out. subscribers
// counts those of a channel, for adapters that do not say how many servers there are.
async function serve({ Server, adapter, config, settle, flush, subscribers }, { fault, report }) {
  const httpServer = createServer();
  const io = new Server(httpServer, { serveClient: false, adapter, allowEIO3: true });
  const url = await listen(httpServer);
  const clients = new Map();
  const serverSocket = (client) => io.of(clients.get(client).nsp).sockets.get(clients.get(client).id);

  function target({ nsp, from, to = [], except = [], flags = [], timeout }) {
    let target = from ? serverSocket(from).broadcast : io.of(nsp);
    for (const room of to) target = target.to(room); // version 3 takes no list
    if (except.length > 0) target = target.except(except);
    for (const flag of flags) target = flag === "nocompress" ? target.compress(false) : target[flag];
    return timeout ? target.timeout(timeout) : target;
  }

  return {
    async namespace({ nsp }) {
      io.of(nsp).adapter.on("error", (err) => fault("adapter", err));
      await settle();
    },
    async connect({ nsp, name, rooms = [], data, answers, polling, frames }) {
      const socket = await attach(Manager, url, { nsp, name, answers, polling, frames }, report);
      clients.set(name, socket);
      serverSocket(name).data = data === undefined ? {} : data;
      serverSocket(name).join(rooms);
      await settle();
      return socket.id;
    },
    // connect2 connects a client of version 2, which is in no room.
    async connect2({ nsp, name, answers }) {
      clients.set(name, await attach(Manager2, url, { nsp, name, answers }, report));
    },
    close({ name }) {
      clients.get(name).close();
      clients.delete(name);
    },
    flush,
    uid: ({ nsp }) => io.of(nsp).adapter.uid,
    async join({ client, rooms }) {
      serverSocket(client).join(rooms);
      await settle();
    },
    rooms: ({ client }) => [...(io.of(clients.get(client).nsp).adapter.sids.get(clients.get(client).id) || [])],
    emit(args) {
      target(args).emit(args.event, ...args.args);
    },
    // listen reports what other servers emit to this one, and answers it if asked.
    listen({ nsp, event, inbox, answers }) {
      io.of(nsp).on(event, (...args) => {
        const done = typeof args.at(-1) === "function" ? args.pop() : null;
        report({ kind: "event", inbox, event, args });
        if (done && answers) done({ node: config.name, got: args });
      });
    },
    fetchSockets: async (args) => (await target(args).fetchSockets()).map(plain),
    allRooms: async ({ nsp }) => [...(await io.of(nsp).adapter.allRooms())],
    allSockets: async (args) => [...(await target(args).allSockets())],
    socketsJoin: (args) => void target(args).socketsJoin(args.rooms),
    socketsLeave: (args) => void target(args).socketsLeave(args.rooms),
    disconnectSockets: (args) => void target(args).disconnectSockets(args.close),

    // Of 6 and 7 only.
    remoteJoin: ({ nsp, id, room }) => io.of(nsp).adapter.remoteJoin(id, room),
    remoteLeave: ({ nsp, id, room }) => io.of(nsp).adapter.remoteLeave(id, room),
    remoteDisconnect: ({ nsp, id, close }) => io.of(nsp).adapter.remoteDisconnect(id, close),

    // Of 7 and 8 only.
    emitWithAck: (args) =>
      new Promise((resolve, reject) =>
        target(args).emit(args.event, ...args.args, (err, responses) =>
          err ? reject(Object.assign(err, { responses })) : resolve(responses),
        ),
      ),
    serverSideEmit: ({ nsp, event, args }) => void io.of(nsp).serverSideEmit(event, ...args),
    serverSideEmitWithAck: ({ nsp, event, args }) =>
      new Promise((resolve, reject) =>
        io.of(nsp).serverSideEmit(event, ...args, (err, responses) =>
          err ? reject(Object.assign(err, { responses })) : resolve(responses),
        ),
      ),
    serverCount({ nsp }) {
      const { adapter } = io.of(nsp);
      return adapter.serverCount ? adapter.serverCount() : subscribers(adapter.requestChannel);
    },
  };
}

module.exports = { serve };
