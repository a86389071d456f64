// Connections of the two generations of the Redis client.
"use strict";

const { once } = require("node:events");

// version3 is what socket.io-redis 5 and 6 and socket.io-emitter use.
async function version3(url, fault) {
  const client = require("redis-3").createClient(url);
  client.setMaxListeners(0); // each namespace adds listeners to the one connection
  client.on("error", (err) => fault("redis", err));
  await once(client, "ready");
  return {
    client,
    // When this has a response, so has everything sent before.
    settle: () => new Promise((ok, no) => client.unsubscribe("none", (err) => (err ? no(err) : ok()))),
    flush: () => new Promise((ok, no) => client.echo("", (err) => (err ? no(err) : ok()))),
    subscribers: (channel) =>
      new Promise((ok, no) =>
        client.send_command("pubsub", ["numsub", channel], (err, answer) => (err ? no(err) : ok(Number(answer[1])))),
      ),
  };
}

async function version4(url, fault) {
  const client = require("redis").createClient({ url });
  client.setMaxListeners(0);
  client.on("error", (err) => fault("redis", err));
  await client.connect();
  return {
    client,
    settle: () => client.unsubscribe("none"),
    flush: () => client.echo(""),
    subscribers: async (channel) => Number((await client.sendCommand(["pubsub", "numsub", channel]))[1]),
  };
}

// sharded is version4 on a single server, or with several addresses behind redis+cluster:// on a cluster.
async function sharded(url, fault) {
  const cluster = url.startsWith("redis+cluster://");
  const { createClient, createCluster } = require("redis");
  const client = cluster
    ? createCluster({
        rootNodes: url
          .slice("redis+cluster://".length)
          .split(",")
          .map((address) => ({ url: "redis://" + address })),
      })
    : createClient({ url });
  client.setMaxListeners(0);
  client.on("error", (err) => fault("redis", err));
  await client.connect();
  const nodes = async () => (cluster ? Promise.all(client.masters.map((m) => m.client)) : [client]);
  // The adapter does not wait for its subscriptions.
  const subscribe = client.sSubscribe.bind(client);
  const pending = new Set();
  client.sSubscribe = (...args) => {
    const live = subscribe(...args);
    pending.add(live);
    const done = () => pending.delete(live);
    live.then(done, (err) => (done(), fault("sSubscribe", err)));
    return live;
  };
  return {
    client,
    settle: () => Promise.all(pending),
    flush: async () => Promise.all((await nodes()).map((n) => n.echo(""))),
  };
}

module.exports = { version3, version4, sharded };
