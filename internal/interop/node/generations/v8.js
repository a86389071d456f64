// @socket.io/redis-adapter 8, or another version that takes redis 4, with socket.io 4.8.
"use strict";

const redis = require("../redis");
const { serve } = require("./modern");

const using = ({ adapter: name, server }) => async (config, tools) => {
  const pub = await redis.version4(config.redis, tools.fault);
  const sub = await redis.version4(config.redis, tools.fault);
  const adapter = require(name).createAdapter(pub.client, sub.client, {
    key: config.prefix,
    requestsTimeout: config.requestsTimeout,
    publishOnSpecificResponseChannel: config.ownResponseChannel,
  });
  const { Server } = require(server);
  const connections = { settle: sub.settle, flush: pub.flush, subscribers: pub.subscribers };
  const operations = await serve({ Server, adapter, config, ...connections }, tools);
  return {
    ...operations,
    unpack: ({ bytes }) => require(require.resolve("notepack.io", { paths: [require.resolve(name)] })).decode(bytes),
  };
};

module.exports = { create: using({ adapter: "@socket.io/redis-adapter", server: "socket.io" }), using };
