// @socket.io/redis-emitter 5: publishes without being a server.
"use strict";

const { Emitter } = require("@socket.io/redis-emitter");
const notepack = require("notepack.io");
const redis = require("../redis");

async function create(config, { fault }) {
  const pub = await redis.version4(config.redis, fault);
  // What an application does that wants something to travel with a broadcast, such as
  // trace context: its own encoder, which adds it to the options.
  let header = {};
  const parser = { encode: ([uid, packet, opts]) => notepack.encode([uid, packet, { ...opts, ...header }]) };
  const emitter = new Emitter(pub.client, { key: config.prefix, parser });

  function target({ nsp, to = [], except = [], flags = [] }) {
    let target = emitter.of(nsp);
    if (to.length > 0) target = target.to(to);
    if (except.length > 0) target = target.except(except);
    for (const flag of flags) target = flag === "nocompress" ? target.compress(false) : target[flag];
    return target;
  }

  return {
    flush: () => pub.flush(),
    emit(args) {
      header = args.header || {};
      target(args).emit(args.event, ...args.args);
    },
    socketsJoin: (args) => target(args).socketsJoin(args.rooms),
    socketsLeave: (args) => target(args).socketsLeave(args.rooms),
    disconnectSockets: (args) => target(args).disconnectSockets(args.close),
    serverSideEmit: ({ nsp, event, args }) => emitter.of(nsp).serverSideEmit(event, ...args),
  };
}

module.exports = { create };
