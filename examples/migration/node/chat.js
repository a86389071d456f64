// The chat itself: the same code for both generations.
"use strict";

const { once } = require("node:events");

function chat(io) {
  io.on("connection", (socket) => {
    const { name } = socket.handshake.query;
    socket.join("lobby");
    socket.on("say", (text) => socket.to("lobby").emit("said", name, text));
    socket.on("show", (picture) => socket.to("lobby").emit("shown", name, picture));
    setImmediate(() => socket.emit("welcome"));
  });
}

// run listens on a free port, prints its address, and exits when its input ends.
async function run(http) {
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  console.log(`http://127.0.0.1:${http.address().port}`);
  process.stdin.resume().on("end", () => process.exit(0));
}

module.exports = { chat, run };
