// Real socket.io-client connections to the server of this process.
"use strict";

const { once } = require("node:events");

// attach connects a client and resolves with the connected client. What it receives is reported
// under its name. With upgrade it begins with polling. With frames, the raw frames of its WebSocket
// are reported too, as events named frame. Events that request an acknowledgement get the value in
// answers under the event's name, or none.
async function attach(Manager, url, { nsp, name, answers = {}, polling = false, upgrade = false, frames = false }, report) {
  const transports = upgrade ? ["polling", "websocket"] : [polling ? "polling" : "websocket"];
  const manager = new Manager(url, { reconnection: false, transports });
  const socket = manager.socket(nsp); // some characters of a namespace are not allowed in a URL
  // Every generation of the client has onevent; only newer ones have onAny.
  const onevent = socket.onevent;
  socket.onevent = function (packet) {
    const [event, ...args] = packet.data;
    report({ kind: "event", inbox: name, event: String(event), args }); // the name may be a number
    if (packet.id != null && Object.hasOwn(answers, event)) this.ack(packet.id)(answers[event]);
    return onevent.call(this, packet);
  };
  await new Promise((resolve, reject) => {
    socket.on("connect", resolve);
    socket.on("connect_error", reject);
    socket.on("error", reject); // of version 2
  });
  if (frames) {
    manager.engine.transport.ws.addEventListener("message", ({ data }) =>
      report({ kind: "event", inbox: name + " frames", event: "frame", args: [data] }),
    );
  }
  socket.on("disconnect", (reason) => report({ kind: "disconnect", inbox: name, reason }));
  return socket;
}

async function listen(httpServer) {
  httpServer.listen(0, "127.0.0.1");
  await once(httpServer, "listening");
  return `http://127.0.0.1:${httpServer.address().port}`;
}

module.exports = { attach, listen };
