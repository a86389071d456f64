// The names that have a meaning for JavaScript objects and for the packages that servers use, as
// one JSON object of lists on standard output. The no-harm run uses them.
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
  // Parts of packets and messages, and properties that are read to encode and decode them.
  packet: fields(
    "type data nsp id attachments _placeholder num base64 query options " +
      "rooms except flags volatile compress local broadcast binary timeout expectSingleResponse " +
      "uid requestId requestid sid room opts sockets clients clientCount packet close handshake auth crossroom traceparent " +
      "error connect connection connect_error connect_timeout connecting disconnect disconnecting reconnect reconnect_attempt " +
      "reconnecting reconnect_error reconnect_failed new_namespace message ping pong open packetCreate drain flush heartbeat upgrade " +
      "newListener removeListener uncaughtException unhandledRejection",
  ),
  // Properties that decide whether a value is something else than an object.
  values: fields("toJSON then catch length buffer byteLength byteOffset callee nodeType prototype name message stack code 0 -0 1 -1 1e3 NaN"),
  // Of other kinds of objects.
  others: own(
    Array.prototype, Function.prototype, Map.prototype, Set.prototype, Date.prototype, Promise.prototype,
    Uint8Array.prototype, Buffer.prototype, ArrayBuffer.prototype, String.prototype, Number.prototype, Object, Reflect,
  ),
};
process.stdout.write(JSON.stringify(names) + "\n");
