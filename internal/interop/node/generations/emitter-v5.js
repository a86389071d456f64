// @socket.io/redis-emitter 5: publishes without being a server.
"use strict";

const { Emitter } = require("@socket.io/redis-emitter");
const redis = require("../redis");

async function create(config, { fault }) {
  const pub = await redis.version4(config.redis, fault);
  const emitter = new Emitter(pub.client, { key: config.prefix });

  function target({ nsp, to = [], except = [], flags = [] }) {
    let target = emitter.of(nsp);
    if (to.length > 0) target = target.to(to);
    if (except.length > 0) target = target.except(except);
    for (const flag of flags) target = flag === "nocompress" ? target.compress(false) : target[flag];
    return target;
  }

  return {
    flush: () => pub.flush(),
    emit: (args) => void target(args).emit(args.event, ...args.args),
    socketsJoin: (args) => target(args).socketsJoin(args.rooms),
    socketsLeave: (args) => target(args).socketsLeave(args.rooms),
    disconnectSockets: (args) => target(args).disconnectSockets(args.close),
    serverSideEmit: ({ nsp, event, args }) => emitter.of(nsp).serverSideEmit(event, ...args),
  };
}

module.exports = { create };
