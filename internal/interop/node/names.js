// The names that mean something to JavaScript objects and to the packages that servers
// are made of, as one JSON object of lists on standard output: what a run that tries
// names tries.
"use strict";

const { EventEmitter } = require("node:events");

const own = (...objects) => [
  ...new Set(objects.flatMap((o) => Object.getOwnPropertyNames(o)).filter((name) => typeof name === "string")),
];
const fields = (list) => list.split(" ");

const names = {
  // Of every object.
  object: own(Object.prototype),
  // Of emitters, and the fields of their instances.
  emitter: own(EventEmitter.prototype, new EventEmitter(), require("@socket.io/component-emitter").Emitter.prototype),
  // What packets and messages are made of, and what reading and writing them asks for.
  packet: fields(
    "type data nsp id attachments _placeholder num base64 query options " +
      "rooms except flags volatile compress local broadcast binary timeout expectSingleResponse " +
      "uid requestId requestid sid room opts sockets clients clientCount packet close handshake auth crossroom traceparent " +
      "error connect connection connect_error connect_timeout connecting disconnect disconnecting reconnect reconnect_attempt " +
      "reconnecting reconnect_error reconnect_failed new_namespace message ping pong open packetCreate drain flush heartbeat upgrade " +
      "newListener removeListener uncaughtException unhandledRejection",
  ),
  // What values are asked whether they are something else than an object.
  values: fields("toJSON then catch length buffer byteLength byteOffset callee nodeType prototype name message stack code 0 -0 1 -1 1e3 NaN"),
  // Of other kinds of objects.
  others: own(
    Array.prototype, Function.prototype, Map.prototype, Set.prototype, Date.prototype, Promise.prototype,
    Uint8Array.prototype, Buffer.prototype, ArrayBuffer.prototype, String.prototype, Number.prototype, Object, Reflect,
  ),
};
process.stdout.write(JSON.stringify(names) + "\n");
