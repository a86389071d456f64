"use strict";

// Has one socket in the room, which counts packets, and says "got <total>".

const { start, say, listen, room } = require("./server.js");

const step = 256; // messages between two reports
const pause = 5; // milliseconds after which the rest is reported

let got = 0;
let said = 0;

function report() {
  if (said !== got) {
    said = got;
    say("got", got);
  }
}

listen({});

start(process.argv[2], process.argv[3]).then((io) => {
  const nsp = io.of("/");
  // The least that an adapter takes for a socket: no engine, no event listeners.
  nsp.sockets.set("sink", {
    client: {
      writeToEngine() {
        if (++got - said >= step) report();
      },
    },
  });
  nsp.adapter.addAll("sink", new Set([room]));
  setInterval(report, pause);
  say("ready", 0);
});
