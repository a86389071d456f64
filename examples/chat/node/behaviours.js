// The behaviours of the stock client, as documented on https://socket.io/docs/v4/client-api/, each
// tested with the chat's events.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { Manager } = require("socket.io-client");

const bytes = (n) => Buffer.from(Array.from({ length: n }, (_, i) => i % 251));

// behaviours returns the list: {name, run(scene), remark}. run throws if the client does not behave
// so.
module.exports = (next) => [
  {
    name: "connect over WebSocket",
    run: async (s) => assert.equal((await s.connected({ nsp: "/" })).io.engine.transport.name, "websocket"),
    remark: '`transports: ["websocket"]`',
  },
  {
    name: "HTTP long-polling, and the upgrade from it",
    run: async (s) => {
      const socket = s.client({ transports: ["polling"], reconnection: false });
      const [err] = await next(socket, "connect", "connect_error");
      if (!err) return;
      assert.equal(err.message, "xhr poll error");
      const answer = await fetch(`${s.url}/socket.io/?EIO=4&transport=polling`);
      assert.equal(answer.status, 400);
      const { code, message } = await answer.json();
      assert.equal(code, 0);
      assert.match(message, /^Transport unknown/);
      s.unsupported("`connect_error`: `xhr poll error`; the server answers 400 `Transport unknown`");
    },
  },
  {
    name: "the next transport if one is refused: `tryAllTransports`",
    run: async (s) => {
      const socket = await s.connected({ transports: ["polling", "websocket"], tryAllTransports: true });
      assert.ok(["polling", "websocket"].includes(socket.io.engine.transport.name));
    },
    remark: "a client with the default transports gets through this way",
  },
  {
    name: "protocol version 3 (clients of Socket.IO 2)",
    run: async (s) => {
      const { hostname, port } = new URL(s.url);
      const key = "dGhlIHNhbXBsZSBub25jZQ==";
      const headers = { connection: "upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": key };
      const request = http.get({ hostname, port, path: "/socket.io/?EIO=3&transport=websocket", headers });
      const [answer, upgraded, head] = await next(request, "response", "upgrade");
      const chunks = await (upgraded || answer).toArray(); // until the server ends it
      assert.match(Buffer.concat([head || Buffer.alloc(0), ...chunks]).toString(), /Unsupported protocol version|^\x88/);
      s.unsupported("refused when it connects");
    },
  },
  {
    name: "namespaces on one connection",
    run: async (s) => {
      const chat = await s.connected();
      const main = chat.io.socket("/");
      await next(main, "connect");
      assert.notEqual(main.id, chat.id);
      chat.disconnect();
      assert.ok(main.connected && chat.io.engine.readyState === "open");
    },
    remark: "leaving one leaves the others alone",
  },
  {
    name: "unknown namespace",
    run: async (s) => assert.equal((await next(s.client({ nsp: "/nowhere" }), "connect_error"))[0].message, "Invalid namespace"),
    remark: "`connect_error`: `Invalid namespace`",
  },
  {
    name: "auth payload, as a value and as a function",
    run: async (s) => {
      const both = [await s.member({ name: "ada" }), await s.member({ auth: (done) => done({ name: "bob" }) })];
      const names = both.map((socket) => socket.id);
      const { members } = await both[0].emitWithAck("members", s.room);
      assert.deepEqual(members.filter(({ id }) => names.includes(id)).map(({ name }) => name).sort(), ["ada", "bob"]);
    },
  },
  {
    name: "error from a middleware; connecting again with other credentials",
    run: async (s) => {
      const socket = s.client({ auth: {} });
      const [err] = await next(socket, "connect_error");
      assert.equal(err.message, "name required");
      assert.equal(socket.active, false);
      socket.auth = { name: "ada" };
      socket.connect();
      await next(socket, "connect");
    },
    remark: "`connect_error` with the server's text; no attempt by itself",
  },
  {
    name: "query, headers and auth as other nodes see them",
    run: async (s) => {
      const socket = await s.connected({ query: { colour: "blue" }, extraHeaders: { "x-colour": "red" } });
      const [seen] = await s.peer.in(socket.id).fetchSockets();
      assert.equal(seen.handshake.query.colour, "blue");
      assert.equal(seen.handshake.headers["x-colour"], "red");
      assert.equal(seen.handshake.auth.name, "ada");
    },
  },
  {
    name: "events, in order",
    run: async (s) => {
      const [ada, bob] = [await s.member(), await s.member({ name: "bob" })];
      const heard = [];
      const last = new Promise((done) => bob.on("said", ({ text }) => heard.push(text) === 1000 && done()));
      const sent = Array.from({ length: 1000 }, (_, i) => `${i} – grüße 世界 👋`);
      for (const text of sent) ada.emit("say", { room: s.room, text });
      await last;
      assert.deepEqual(heard, sent);
    },
  },
  {
    name: "binary: Buffer, typed array, ArrayBuffer, empty; nested; both ways",
    run: async (s) => {
      const ada = await s.member();
      for (const file of [bytes(300_000), new Uint8Array([0, 127, 255]), new Uint8Array([1, 2, 3]).buffer, Buffer.alloc(0)]) {
        const back = next(ada, "said");
        assert.deepEqual(await ada.emitWithAck("say", { room: s.room, file, fileName: "x" }), { ok: true });
        assert.deepEqual(Buffer.from((await back)[0].file), Buffer.from(file));
      }
    },
  },
  {
    name: "acknowledgement: `emit` with a callback, `emitWithAck`",
    run: async (s) => {
      const ada = await s.member();
      assert.deepEqual(await new Promise((done) => ada.emit("leave", s.room, done)), { ok: true });
      assert.deepEqual(await ada.emitWithAck("join", s.room).then(({ ok }) => ok), true);
    },
  },
  {
    name: "acknowledgement with a timeout",
    run: async (s) => {
      const link = await s.link();
      const ada = await s.member({ url: link.url });
      link.hold();
      await assert.rejects(ada.timeout(200).emitWithAck("members", s.room), /timed out/);
      link.release();
      assert.equal((await ada.timeout(20_000).emitWithAck("members", s.room)).ok, true);
    },
    remark: "a late answer is dropped",
  },
  {
    name: "`retries` with `ackTimeout`",
    run: async (s) => {
      const link = await s.link();
      const ada = await s.member({ url: link.url, retries: 50, ackTimeout: 300 });
      link.hold();
      const answer = ada.emitWithAck("join", s.room);
      setTimeout(link.release, 700);
      assert.equal((await answer).ok, true);
    },
    remark: "the server may see the event more than once",
  },
  {
    name: "server asks, client acknowledges",
    run: async (s) => {
      const [ada, bob] = [await s.member(), await s.member({ name: "bob" })];
      ada.on("question", (x, ack) => ack({ x, file: bytes(3) }));
      bob.on("question", (x, ack) => ack("bob"));
      const answers = await s.peer.to("room:" + s.room).timeout(20_000).emitWithAck("question", 42);
      assert.equal(answers.length, 2);
      assert.ok(answers.includes("bob"));
      const { x, file } = answers.find((a) => a !== "bob");
      assert.equal(x, 42);
      assert.deepEqual(Buffer.from(file), bytes(3));
    },
    remark: "a broadcast from a Node.js server behind the same Redis",
  },
  {
    name: "`volatile`",
    run: async (s) => {
      const link = await s.link();
      const [ada, bob] = [await s.member({ url: link.url }), await s.member({ name: "bob" })];
      const heard = [];
      const last = new Promise((done) => bob.on("said", ({ text }) => heard.push(text) && text === "last" && done()));
      link.cut();
      await next(ada, "disconnect");
      ada.volatile.emit("say", { room: s.room, text: "lost" });
      await ada.emitWithAck("join", s.room); // sent when it is connected again
      ada.volatile.emit("say", { room: s.room, text: "last" });
      await last;
      assert.deepEqual(heard, ["last"]);
    },
    remark: "not sent while disconnected",
  },
  {
    name: "events said while disconnected are sent after reconnecting",
    run: async (s) => {
      const link = await s.link();
      const ada = await s.member({ url: link.url });
      link.cut();
      await next(ada, "disconnect");
      assert.equal((await ada.emitWithAck("join", s.room)).ok, true);
    },
  },
  {
    name: "reconnect after a broken connection",
    run: async (s) => {
      const link = await s.link();
      const ada = await s.member({ url: link.url });
      const before = ada.id;
      const gone = next(ada, "disconnect");
      link.cut();
      assert.equal((await gone)[0], "transport close");
      await next(ada, "connect");
      assert.notEqual(ada.id, before);
    },
    remark: "`transport close`; a new id, and no rooms until the client joins them again",
  },
  {
    name: "connection state recovery",
    run: async (s) => {
      const link = await s.link();
      const ada = await s.member({ url: link.url });
      link.cut();
      await next(ada, "disconnect");
      await next(ada, "connect");
      if (!ada.recovered) s.unsupported("`recovered` is false: the Redis adapter has no such thing either");
    },
  },
  {
    name: "heartbeats keep a silent connection",
    run: async (s) => {
      const ada = await s.connected();
      await next(ada.io.engine, "ping");
      await ada.emitWithAck("members", s.room);
    },
    remark: "every 25 s",
  },
  {
    name: "a server that has gone silent is given up",
    run: async (s) => {
      const link = await s.link();
      const ada = await s.connected({ url: link.url, reconnection: false });
      link.hold();
      assert.equal((await next(ada, "disconnect"))[0], "ping timeout");
    },
    remark: "`ping timeout` after 45 s",
  },
  {
    name: "`disconnect` by the client",
    run: async (s) => {
      const [ada, bob] = [await s.member(), await s.member({ name: "bob" })];
      const { id } = ada;
      const [gone, told] = [next(ada, "disconnect"), next(bob, "left")];
      ada.disconnect();
      assert.equal((await gone)[0], "io client disconnect");
      assert.equal((await told)[0].member.id, id);
    },
    remark: "`io client disconnect`",
  },
  {
    name: "`disconnect` by the server",
    run: async (s) => {
      const [ada, bob] = [await s.member(), await s.member({ name: "bob" })];
      const [kicked, gone] = [next(bob, "kicked"), next(bob, "disconnect")];
      assert.deepEqual(await ada.emitWithAck("kick", { id: bob.id, room: s.room }), { ok: true });
      assert.deepEqual(await kicked, [{ by: "ada" }]);
      assert.equal((await gone)[0], "io server disconnect");
      assert.equal(bob.active, false);
    },
    remark: "`io server disconnect`; the client stays away until `connect()`",
  },
  {
    name: "`disconnectSockets`, `socketsJoin` and broadcasts from another node",
    run: async (s) => {
      const ada = await s.connected();
      s.peer.in(ada.id).socketsJoin("room:" + s.room);
      while (!(await s.peer.in("room:" + s.room).fetchSockets()).length); // it is not acknowledged
      const [heard, gone] = [next(ada, "news"), next(ada, "disconnect")];
      s.peer.to("room:" + s.room).emit("news", { file: bytes(10) }, 1.5, null, "é");
      const [first, ...rest] = await heard;
      assert.deepEqual(Buffer.from(first.file), bytes(10));
      assert.deepEqual(rest, [1.5, null, "é"]);
      s.peer.in("room:" + s.room).disconnectSockets(true);
      assert.equal((await gone)[0], "io server disconnect");
    },
  },
  {
    name: "a message that is too large",
    run: async (s) => {
      const ada = await s.member({ reconnection: false });
      const gone = next(ada, "disconnect");
      ada.emit("say", { room: s.room, file: Buffer.alloc(1_100_000) });
      assert.equal((await gone)[0], "transport close");
    },
    remark: "`transport close`; others notice nothing",
  },
  {
    name: "`onAny`, `prependAny`, `onAnyOutgoing`",
    run: async (s) => {
      const ada = await s.member();
      const seen = [];
      ada.onAny((event) => seen.push(event));
      ada.prependAny((event) => seen.push("before " + event));
      ada.onAnyOutgoing((event) => seen.push("out " + event));
      const back = next(ada, "said");
      ada.emit("say", { room: s.room, text: "x" });
      await back;
      assert.deepEqual(seen, ["out say", "before said", "said"]);
    },
  },
  {
    name: "per-message compression",
    run: async (s) => {
      const ada = await s.member({ perMessageDeflate: { threshold: 1 } });
      const extensions = ada.io.engine.transport.ws.extensions;
      const back = next(ada, "said");
      ada.compress(true).emit("say", { room: s.room, text: "x".repeat(10_000) });
      assert.equal((await back)[0].text.length, 10_000);
      if (!String(extensions).includes("permessage-deflate")) s.unsupported("not negotiated; `compress` does no harm");
    },
  },
  {
    name: "no server responds: `reconnectionAttempts`, `reconnect_failed`",
    run: async () => {
      const manager = new Manager("http://127.0.0.1:1", { transports: ["websocket"], reconnectionAttempts: 2, reconnectionDelay: 10 });
      manager.socket("/chat");
      await next(manager, "reconnect_failed");
    },
    remark: "the client's own",
  },
];
