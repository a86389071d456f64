"use strict";

// On "go <milliseconds>": emits 128-byte events to the room as fast as it can,
// then says "sent <total>". "got <total>" says how many have arrived.

const { start, say, listen, room } = require("./server.js");

const event = "0123456789abcdef".repeat(8);
const batch = 64; // then the event loop has its turn, and the client writes; 16, 32, 128, 256 and 1024 were slower
const inFlight = 4096; // more gains nothing

let io;
let sent = 0;
let got = 0;
let until = 0;
let waiting = false;

function turn() {
  const room_ = io.to(room);
  for (let i = 0; i < batch && sent - got < inFlight; i++) {
    room_.emit("event", event);
    sent++;
  }
  if (performance.now() >= until) {
    say("sent", sent);
  } else if (sent - got < inFlight) {
    setImmediate(turn);
  } else {
    waiting = true;
  }
}

listen({
  go(ms) {
    until = performance.now() + ms;
    turn();
  },
  got(n) {
    got = n;
    if (waiting) {
      waiting = false;
      turn();
    }
  },
});

start(process.argv[2], process.argv[3]).then((server) => {
  io = server;
  say("ready", 0);
});
