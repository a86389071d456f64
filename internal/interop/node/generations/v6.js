// socket.io-redis 6.1 with socket.io 4.0, or another version from the time of redis 3.
"use strict";

const redis = require("../redis");
const { serve } = require("./modern");

const using = ({ adapter: name, server }) => async (config, tools) => {
  const pub = await redis.version3(config.redis, tools.fault);
  const sub = await redis.version3(config.redis, tools.fault);
  const { createAdapter } = require(name);
  const options = { key: config.prefix, requestsTimeout: config.requestsTimeout };
  const adapter = name.startsWith("socket.io-redis-adapter")
    ? createAdapter(pub.client, sub.client, options)
    : createAdapter({ ...options, pubClient: pub.client, subClient: sub.client });
  const { Server } = require(server);
  const connections = { settle: sub.settle, flush: pub.flush, subscribers: pub.subscribers };
  const operations = await serve({ Server, adapter, config, ...connections }, tools);
  return {
    ...operations,
    unpack: ({ bytes }) => require(require.resolve("notepack.io", { paths: [require.resolve(name)] })).decode(bytes),
  };
};

module.exports = { create: using({ adapter: "socket.io-redis-6", server: "socket.io-4.0" }), using };
