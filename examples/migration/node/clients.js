// Clients of both generations. Each line of standard input is an action, and each line of standard
// output an event, in JSON.
"use strict";

const readline = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");

const versions = { 2: require("socket.io-client-2"), 4: require("socket.io-client").io };
const clients = new Map();
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

const deeds = {
  connect({ name, version, url }) {
    const socket = versions[version](url, { query: { name }, transports: ["websocket"], forceNew: true });
    clients.set(name, socket);
    socket.on("welcome", () => say({ What: "welcome", Name: name }));
    socket.on("said", (from, text) => say({ What: "heard", Name: name, From: from, Text: text }));
    socket.on("shown", (from, picture) =>
      say({ What: "heard", Name: name, From: from, Text: Buffer.from(picture).toString("hex") }),
    );
    socket.on("disconnect", (reason) => {
      say({ What: reason === "io client disconnect" ? "left" : "disconnected", Name: name, Text: reason });
    });
  },
  say: ({ name, text }) => clients.get(name).emit("say", text),
  show: ({ name, text }) => clients.get(name).emit("show", Buffer.from(text, "hex")),
  async talk({ name, count, every }) {
    for (let n = 1; n <= count; n++) {
      clients.get(name).emit("say", String(n));
      await sleep(every);
    }
    say({ What: "talked", Name: name });
  },
  leave({ name }) {
    clients.get(name).close();
    clients.delete(name);
  },
};

say({ What: "ready" });
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { deed, ...args } = JSON.parse(line);
    deeds[deed](args);
  })
  .on("close", () => process.exit(0));
