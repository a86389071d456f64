// @socket.io/redis-adapter 8, or another version of that name, with socket.io 4.8.
"use strict";

const redis = require("../redis");
const { serve } = require("./modern");

const using = (name) => async (config, tools) => {
  const pub = await redis.version4(config.redis, tools.fault);
  const sub = await redis.version4(config.redis, tools.fault);
  const adapter = require(name).createAdapter(pub.client, sub.client, {
    key: config.prefix,
    requestsTimeout: config.requestsTimeout,
    publishOnSpecificResponseChannel: config.ownResponseChannel,
  });
  const { Server } = require("socket.io");
  const operations = await serve({ Server, adapter, config, settle: sub.settle, flush: pub.flush }, tools);
  return {
    ...operations,
    unpack: ({ bytes }) => require(require.resolve("notepack.io", { paths: [require.resolve(name)] })).decode(bytes),
  };
};

module.exports = { create: using("@socket.io/redis-adapter"), using };
