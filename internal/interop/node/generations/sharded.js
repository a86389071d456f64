// The sharded adapter of @socket.io/redis-adapter 8, in one of its modes, with socket.io 4.8.
"use strict";

const redis = require("../redis");
const { serve } = require("./modern");

const using = (subscriptionMode) => async (config, tools) => {
  const pub = await redis.sharded(config.redis, tools.fault);
  const sub = await redis.sharded(config.redis, tools.fault);
  const { createShardedAdapter } = require("@socket.io/redis-adapter");
  const adapter = createShardedAdapter(pub.client, sub.client, { channelPrefix: config.prefix, subscriptionMode });
  const { Server } = require("socket.io");
  const connections = { settle: sub.settle, flush: pub.flush };
  return serve({ Server, adapter, config, ...connections }, tools);
};

module.exports = { create: using("dynamic"), using };
