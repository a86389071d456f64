// socket.io-emitter 3: publishes without being a server.
"use strict";

const redis = require("../redis");

async function create(config, { fault }) {
  const pub = await redis.version3(config.redis, fault);
  const emitter = require("socket.io-emitter")(pub.client, { key: config.prefix });
  return {
    flush: () => pub.flush(),
    emit({ nsp, to = [], flags = [], event, args }) {
      let target = emitter.of(nsp);
      for (const room of to) target = target.to(room);
      for (const flag of flags) target = target[flag];
      target.emit(event, ...args);
    },
  };
}

module.exports = { create };
