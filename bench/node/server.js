"use strict";

// A Socket.IO server on Redis, without clients and without an HTTP port.

const { Server } = require("socket.io");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");

// The server encodes every packet for its clients, on both sides. Crossroom's sockets
// get packets that are not, so to compare the adapters alone this can be left out.
class Encoder {
  encode() {
    return [""];
  }
}
class Decoder {
  on() {}
  add() {}
  destroy() {}
}

exports.room = "room";

const parsers = { "with-client-packets": undefined, "without-client-packets": { Encoder, Decoder } };

exports.start = async (url, packets) => {
  const pub = createClient({ url });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const io = new Server({ parser: parsers[packets] });
  io.adapter(createAdapter(pub, sub, { key: `node-${packets}` }));
  // The adapter does not tell when it is subscribed. A connection's replies come
  // in order, so this one comes after its subscriptions are there.
  await sub.ping();
  return io;
};

// Lines of a word and a number, both ways. The process ends with its input.
exports.say = (word, n) => process.stdout.write(`${word} ${n}\n`);

exports.listen = (handlers) => {
  const lines = require("readline").createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const [word, n] = line.split(" ");
    handlers[word]?.(Number(n));
  });
  lines.on("close", () => process.exit(0));
};
