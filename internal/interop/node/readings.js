// Feeds bytes to the real adapter of one generation and reports their effect. Each line of standard
// input is a case, each line of standard output its result:
//
//   in    {"kind": "broadcast", "nsp": "/", "channel": "socket.io#/#", "payload": base64}
//         kind request: the same; kind response: with "ask", the call that waits
//   out   {"dies": kind of error, "got": [{"to": sockets, "got": [...]}],
//          "joined": {socket: rooms}, "left": {socket: rooms}, "gone": {socket: closed},
//          "published": [...], "events": [...], "result": ...}
//
// Server, namespace, sockets and adapter are those of the packages. Only the two ends are replaced:
// a subscriber hands the bytes to the adapter in place of the Redis client, and connections keep
// what is written to them. The parser of the generation's own client reads it.
"use strict";

const { EventEmitter } = require("node:events");
const readline = require("node:readline");

const generations = {
  v5: { server: "socket.io-2", adapter: "socket.io-redis-5", client: "socket.io-client-2" },
  v6: { server: "socket.io-4.0", adapter: "socket.io-redis-6", client: "socket.io-4.0" },
  v8: { server: "socket.io", adapter: "@socket.io/redis-adapter", client: "socket.io-client" },
  sharded: { server: "socket.io", adapter: "@socket.io/redis-adapter", client: "socket.io-client" },
};
const generation = process.argv[2];
const packages = generations[generation];
const from = (name) => ({ paths: [require.resolve(name)] });
const parser = require(require.resolve("socket.io-parser", from(packages.client)));
const notepack = require(require.resolve("notepack.io", from(packages.adapter)));

// The sockets of every case, and their rooms.
const numbers = [5, 1.5, 0, -1, 255, 65536, 2 ** 40, -(2 ** 40), 2 ** 64, 1e300, NaN];
const scene = {
  a: ["a"],
  b: ["b"],
  c: ["a", "b"],
  n: [...numbers, ...numbers.map(String)],
  odd: ["null", "undefined", "true", "false", "", "[object Object]", "x,y", "\ufffd", "\ufffda"],
};

// Ids are random in the packages. Here they are fixed.
let nextID = "";
let uids = 0;
const uid2 = require.resolve("uid2", from(packages.adapter));
require(uid2);
require.cache[uid2].exports = () => "u" + String(++uids).padStart(5, "0");
for (const name of ["base64id", "./contrib/base64id"]) {
  try {
    const path = name[0] === "." ? require.resolve(packages.server).replace(/index\.js$/, name) : require.resolve(name, from(packages.server));
    const module = require(path);
    (module.base64id || module).generateId = () => nextID;
  } catch (err) {
    if (err.code !== "MODULE_NOT_FOUND") throw err;
  }
}
const createAdapter = require(packages.adapter);
const Server = generation === "v5" ? require(packages.server) : require(packages.server).Server;

// redis is both clients: the adapter subscribes and publishes as with any of them.
class Redis extends EventEmitter {
  constructor() {
    super();
    this.setMaxListeners(0);
    this.patterns = [];
    this.channels = [];
    this.published = [];
  }
  psubscribe(pattern) {
    this.patterns.push(pattern);
  }
  subscribe(channels) {
    this.channels.push(...channels);
  }
  publish(channel, message) {
    this.published.push({ channel, message });
    setImmediate(() => this.deliver(channel, Buffer.from(message)));
  }
  // The sharded adapter takes this for node-redis 4, which hands each channel's messages to a function of its own.
  sSubscribe(channel, handler) {
    (this.shards ??= new Map()).set(channel, handler);
  }
  sUnsubscribe() {}
  async sPublish(channel, message) {
    this.publish(channel, message);
  }
  async sendCommand(args) {
    return [args[2], "2"];
  }
  send_command(name, args, done) {
    done(null, [args[1], "2"]);
  }
  deliver(channel, payload) {
    const handler = this.shards?.get(channel);
    if (handler) handler(payload, Buffer.from(channel));
    for (const pattern of this.patterns) {
      if (channel.startsWith(pattern.slice(0, -1))) this.emit("pmessageBuffer", Buffer.from(pattern), Buffer.from(channel), payload);
    }
    if (this.channels.includes(channel)) this.emit("messageBuffer", Buffer.from(channel), payload);
  }
}

class Connection extends EventEmitter {
  constructor(id) {
    super();
    Object.assign(this, { id, readyState: "open", protocol: generation === "v5" ? 3 : 4, remoteAddress: "", written: [] });
    this.transport = { writable: true };
    this.request = { headers: {}, connection: {}, url: "/", _query: {} };
  }
  write(packet, options) {
    this.written.push({ packet, options });
  }
  close() {
    this.readyState = "closed";
    this.emit("close", "forced close");
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

// plain converts a value to JSON without loss.
function plain(v) {
  if (v === undefined) return { $: "undefined" };
  if (typeof v === "number" && !Number.isFinite(v)) return { $: String(v) };
  if (v instanceof ArrayBuffer) v = Buffer.from(v);
  if (ArrayBuffer.isView(v)) return { $bytes: Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString("hex") };
  if (v instanceof Date) return { $: "date" };
  if (v instanceof Set) v = [...v];
  if (Array.isArray(v)) return v.map(plain);
  if (typeof v === "function") return { $: "function" };
  if (v === null || typeof v !== "object") return v;
  return Object.fromEntries(Object.keys(v).map((k) => [k, plain(v[k])]));
}

// read returns what a client reads from the frames written to it.
function read(connection) {
  const got = [];
  const decoder = new parser.Decoder();
  decoder.on("decoded", (p) => {
    const event = p.type === parser.EVENT || p.type === parser.BINARY_EVENT || (parser.PacketType && (p.type === parser.PacketType.EVENT || p.type === parser.PacketType.BINARY_EVENT));
    if (event && Array.isArray(p.data) && p.data.length > 0) got.push({ event: plain(p.data), id: p.id });
    else if (event) got.push({ refused: "no event" });
    else got.push({ refused: `packet of type ${p.type}` });
  });
  for (const { packet, options = {} } of connection.written) {
    const before = got.length;
    try {
      decoder.add(packet);
    } catch (err) {
      got.push({ refused: err.message });
    }
    if (got.length > before) {
      if (options.volatile) got.at(-1).volatile = true;
      if (options.compress === false) got.at(-1).nocompress = true;
    }
  }
  return got;
}

// answer returns a published message, as text if it is JSON.
function answer({ channel, message }) {
  const bytes = Buffer.from(message);
  if (bytes[0] === 0x7b) return { channel, json: JSON.parse(bytes.toString()) };
  try {
    return { channel, msgpack: plain(notepack.decode(bytes)) };
  } catch {
    return { channel, bytes: bytes.toString("hex") };
  }
}

class Stage {
  async open(nsp) {
    this.name = nsp;
    this.redis = new Redis();
    if (generation === "v5") {
      this.io = new Server();
      this.io.adapter(createAdapter({ pubClient: this.redis, subClient: this.redis }));
    } else {
      const adapter =
        generation === "v6"
          ? createAdapter({ pubClient: this.redis, subClient: this.redis })
          : createAdapter[generation === "sharded" ? "createShardedAdapter" : "createAdapter"](this.redis, this.redis);
      this.io = new Server({ adapter });
    }
    this.nsp = this.io.of(nsp);
    this.events = [];
    for (const name of ["hello", "5", "1.5", "null", "undefined", "true", ""]) {
      this.nsp.on(name, (...args) => {
        if (this.nsp.name !== nsp || args[0] instanceof EventEmitter) return;
        const done = typeof args.at(-1) === "function" ? args.pop() : null;
        this.events.push({ event: name, args: plain(args), ack: !!done });
        if (done) done("yes");
      });
    }
    this.connections = {};
    this.sockets = {};
    for (const name of Object.keys(scene)) {
      nextID = "id-" + name;
      const connection = (this.connections[name] = new Connection(nextID));
      this.nsp.once("connection", (socket) => {
        this.sockets[name] = socket;
      });
      this.io.onconnection(connection);
      if (generation !== "v5" || nsp !== "/") connection.emit("data", nsp === "/" ? "0" : `0${nsp},`);
      for (let i = 0; i < 20 && !this.sockets[name]; i++) await turn();
      this.sockets[name].join(scene[name]);
    }
    await turn();
    if (generation === "v5") {
      this.nsp.adapter.customHook = (data, done) => {
        this.events.push({ hook: plain(data) });
        done("hooked");
      };
    }
    for (const c of Object.values(this.connections)) c.written.length = 0;
    this.redis.published.length = 0;
    this.before = this.rooms();
  }

  rooms() {
    const { sids } = this.nsp.adapter;
    const of = (id) => (generation === "v5" ? Object.keys(sids[id] || {}) : [...(sids.get(id) || [])]);
    return Object.fromEntries(Object.entries(this.sockets).map(([name, s]) => [name, of(s.id)]));
  }

  connected(name) {
    const { id } = this.sockets[name];
    return generation === "v5" ? !!this.nsp.connected[id] : this.nsp.sockets.has(id);
  }

  async run({ kind, nsp, channel, payload, ask }) {
    const out = {};
    for (const c of Object.values(this.connections)) c.written.length = 0;
    this.redis.published.length = this.events.length = 0;
    dies = (err) => {
      out.dies ??= err.constructor.name; // the message depends on the version of Node.js
    };
    let bytes = Buffer.from(payload, "base64");
    if (kind === "response") {
      out.result = "waits";
      asks[ask](this).then(
        (v) => (out.result = { value: plain(v) }),
        (err) => (out.result = { error: "rejected", responses: err.responses && plain(err.responses) }),
      );
      for (let i = 0; i < 4; i++) await turn();
      const { json, msgpack } = answer(this.redis.published[0]);
      const id = (json || msgpack).requestId || json.requestid;
      bytes = Buffer.from(bytes.toString("latin1").replaceAll("REQ-ID", id), "latin1");
    }
    try {
      this.redis.deliver(channel, bytes);
    } catch (err) {
      dies(err);
    }
    for (let i = 0; i < 4; i++) await turn();
    const got = {};
    for (const [name, c] of Object.entries(this.connections)) {
      const list = read(c);
      if (kind === "request") {
        for (const p of list) {
          if (p.id !== undefined) c.emit("data", `3${nsp === "/" ? "" : nsp + ","}${p.id}["${name} has it"]`);
          delete p.id;
        }
      }
      if (this.connected(name)) {
        if (list.length > 0) got[name] = list;
      } else {
        (out.gone ??= {})[name] = c.readyState !== "open";
      }
    }
    for (let i = 0; i < 2; i++) await turn();
    const groups = new Map(); // sockets that got the same
    for (const [name, list] of Object.entries(got)) {
      const text = JSON.stringify(list);
      groups.set(text, [...(groups.get(text) || []), name]);
    }
    if (groups.size > 0) out.got = [...groups].map(([text, to]) => ({ to, got: JSON.parse(text) }));
    const after = this.rooms();
    for (const name of Object.keys(after)) {
      if (!this.connected(name)) continue;
      const joined = after[name].filter((r) => !this.before[name].includes(r));
      const left = this.before[name].filter((r) => !after[name].includes(r));
      if (joined.length > 0) (out.joined ??= {})[name] = plain(joined);
      if (left.length > 0) (out.left ??= {})[name] = plain(left);
    }
    const published = this.redis.published.map(answer);
    for (const a of published) {
      const sockets = (a.json && a.json.sockets) || [];
      for (const s of sockets) if (s && s.handshake) s.handshake = "handshake";
    }
    if (published.length > 0 && kind !== "response") out.published = published;
    if (this.events.length > 0) out.events = [...this.events];
    this.used = kind === "response" || out.joined || out.left || out.gone;
    return out;
  }
}

const promise = (call) => new Promise((resolve, reject) => call((err, value) => (err ? reject(Object.assign(err, { responses: value })) : resolve(value))));

// The calls that responses complete.
const asks = {
  sockets: ({ nsp }) => nsp.adapter.sockets(new Set()),
  fetchSockets: async ({ nsp }) =>
    (await (nsp.fetchSockets ? nsp.fetchSockets() : nsp.in([]).fetchSockets())).map(({ id, rooms, data }) => ({ id, rooms, data })),
  allRooms: ({ nsp }) => nsp.adapter.allRooms(),
  remoteJoin: ({ nsp }) => nsp.adapter.remoteJoin("elsewhere", "r"),
  serverSideEmit: ({ nsp }) => promise((done) => nsp.serverSideEmit("hello", done)),
  emitWithAck: ({ nsp, connections }) =>
    promise((done) => nsp.in("empty").timeout(5000).emit("hello", done)),
  clients: ({ nsp }) => promise((done) => nsp.adapter.clients([], done)),
  clientRooms: ({ nsp }) => promise((done) => nsp.adapter.clientRooms("elsewhere", done)),
  allRooms5: ({ nsp }) => promise((done) => nsp.adapter.allRooms(done)),
  remoteJoin5: ({ nsp }) => promise((done) => nsp.adapter.remoteJoin("elsewhere", "r", done)),
  customRequest: ({ nsp }) => promise((done) => nsp.adapter.customRequest("q", done)),
};

let dies = (err) => {
  throw err;
};
process.on("uncaughtException", (err) => dies(err)); // also for unhandledRejection

const lines = readline.createInterface({ input: process.stdin });
let last = Promise.resolve();
let stage;
lines.on("line", (line) => {
  last = last.then(async () => {
    const c = JSON.parse(line);
    let out;
    try {
      if (!stage || stage.used || stage.name !== c.nsp) await (stage = new Stage()).open(c.nsp);
      out = await stage.run(c);
    } catch (err) {
      out = { failed: String(err.stack) };
    }
    process.stdout.write(JSON.stringify(out) + "\n");
  });
});
lines.on("close", () => last.then(() => process.exit(0)));
