// socket.io-redis 6 with socket.io 4.0.
"use strict";

const redis = require("../redis");
const { serve } = require("./modern");

async function create(config, tools) {
  const pub = await redis.version3(config.redis, tools.fault);
  const sub = await redis.version3(config.redis, tools.fault);
  const adapter = require("socket.io-redis-6")({
    key: config.prefix,
    pubClient: pub.client,
    subClient: sub.client,
    requestsTimeout: config.requestsTimeout,
  });
  const { Server } = require("socket.io-4.0");
  const operations = await serve({ Server, adapter, config, settle: sub.settle, flush: pub.flush }, tools);
  return {
    ...operations,
    serverCount: ({ nsp }) => pub.subscribers(`${config.prefix || "socket.io"}-request#${nsp}#`),
    unpack: ({ bytes }) => require(require.resolve("notepack.io", { paths: [require.resolve("socket.io-redis-6")] })).decode(bytes),
  };
}

module.exports = { create };
