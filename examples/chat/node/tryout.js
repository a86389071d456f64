// Tests the behaviours of the stock client, one after the other, against a chat node. It prints the
// results as a JSON array of {name, verdict, remark}:
//
//   node tryout.js --url http://127.0.0.1:8081 --broker redis://127.0.0.1:6379
//
// The verdict is "yes", "FAILED", or "no" if the server refuses the behaviour with an error of the
// protocol. --prefix is that of the fleet on Redis.
"use strict";

const net = require("node:net");
const { once } = require("node:events");
const { parseArgs } = require("node:util");
const { createAdapter } = require("@socket.io/redis-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { Manager } = require("socket.io-client");
const behaviours = require("./behaviours");

const { values: flags } = parseArgs({
  options: {
    url: { type: "string" },
    broker: { type: "string" },
    prefix: { type: "string", default: "socket.io" },
  },
});

// Unsupported is thrown if the server refuses a behaviour with an error.
class Unsupported extends Error {}

// PATIENCE limits every wait, in milliseconds. Heartbeats take longest: 25 s between two, and 20 s
// more until an unresponsive server is given up.
const PATIENCE = 60_000;

// Scene has what a behaviour needs. Everything ends with it.
class Scene {
  #after = [];

  constructor(name, peer) {
    this.room = `${name}, on ${flags.url}`; // fleets may be shared
    this.url = flags.url;
    this.peer = peer; // the namespace /chat of a Node.js server behind the same Redis
    this.unsupported = (why) => {
      throw new Unsupported(why);
    };
  }

  // client makes a client with a connection of its own, not yet connected.
  client({ nsp = "/chat", url = this.url, name = "ada", ...options } = {}) {
    const { auth = { name }, ...rest } = options;
    const manager = new Manager(url, { transports: ["websocket"], reconnectionDelay: 50, reconnectionDelayMax: 100, ...rest });
    this.#after.push(() => manager._close());
    return manager.socket(nsp, { auth, ...rest });
  }

  // connected makes a client and waits until it is connected.
  async connected(options) {
    const socket = this.client(options);
    const connect = next(socket, "connect", "connect_error");
    const [err] = await connect;
    if (err) throw err;
    return socket;
  }

  // member makes a connected client in the scene's room.
  async member(options) {
    const socket = await this.connected(options);
    const answer = await socket.emitWithAck("join", this.room);
    if (!answer.ok) throw new Error(answer.error);
    return socket;
  }

  // link makes a TCP link to the server that can be cut or hold all data back.
  async link() {
    const target = new URL(flags.url);
    const pairs = new Set();
    let held = false;
    const server = net.createServer((near) => {
      const far = net.connect(Number(target.port), target.hostname);
      const pair = [near, far];
      pairs.add(pair);
      for (const [from, to] of [pair, [far, near]]) {
        from.on("data", (data) => to.write(data));
        from.on("close", () => (to.destroy(), pairs.delete(pair)));
        from.on("error", () => {});
        if (held) from.pause();
      }
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const each = (f) => [...pairs].flat().forEach(f);
    const link = {
      url: `http://127.0.0.1:${server.address().port}`,
      cut: () => each((side) => side.destroy()),
      hold: () => ((held = true), each((side) => side.pause())),
      release: () => ((held = false), each((side) => side.resume())),
    };
    this.#after.push(() => (server.close(), link.cut()));
    return link;
  }

  end() {
    for (const f of this.#after.reverse()) f();
  }
}

// next resolves with the arguments of the next event with one of these names.
function next(emitter, ...events) {
  return new Promise((resolve) => {
    const heard = (...args) => {
      for (const event of events) emitter.off(event, heard);
      resolve(args);
    };
    for (const event of events) emitter.on(event, heard);
  });
}

async function attempt({ name, run, remark = "" }, peer) {
  const scene = new Scene(name, peer);
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(reject, PATIENCE, new Error("took too long"))));
  try {
    await Promise.race([run(scene), late]);
    return { name, verdict: "yes", remark };
  } catch (err) {
    if (err instanceof Unsupported) return { name, verdict: "no", remark: err.message };
    return { name, verdict: "FAILED", remark: String(err.stack || err) };
  } finally {
    clearTimeout(timer);
    scene.end();
  }
}

async function main() {
  const redis = [createClient({ url: flags.broker }), createClient({ url: flags.broker })];
  await Promise.all(redis.map((client) => client.connect()));
  const io = new Server({ adapter: createAdapter(...redis, { key: flags.prefix }) }); // listens on no port
  const peer = io.of("/chat");
  await redis[1].unsubscribe("none"); // its response follows those of the subscriptions

  // In parallel, because some wait for heartbeats.
  const outcomes = await Promise.all(behaviours(next).map((behaviour) => attempt(behaviour, peer)));
  process.stdout.write(JSON.stringify(outcomes, null, 1) + "\n");
  process.exit(0);
}

main();
