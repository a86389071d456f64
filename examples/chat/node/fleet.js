// What is known of the other nodes, from what they say themselves.
"use strict";

// FORGET is for how long, in milliseconds, a node that was there and says nothing
// any more is called missing. After that it is gone.
const FORGET = 10_000;

class Fleet {
  constructor(ns, name) {
    this.ns = ns;
    this.name = name;
    this.since = Date.now();
    this.known = new Map(); // name → when it last answered
    this.asking = null;
    ns.on("stats", (ack) => ack(this.stats()));
  }

  // stats is this node's answer to the event "stats".
  stats() {
    const { rooms, sids } = this.ns.adapter;
    return {
      name: this.name,
      kind: "node",
      sockets: this.ns.sockets.size,
      rooms: [...rooms.keys()].filter((room) => !sids.has(room)).sort(),
      since: this.since,
    };
  }

  // ask asks every node. Pages ask each second: those that come while a question is
  // under way share its answer.
  ask() {
    this.asking ??= this.question().finally(() => (this.asking = null));
    return this.asking;
  }

  async question() {
    const { err, answers } = await new Promise((done) => {
      this.ns.serverSideEmit("stats", (err, answers) => done({ err, answers: answers || [] }));
    });
    const now = Date.now();
    const nodes = [this.stats(), ...answers].sort((a, b) => a.name.localeCompare(b.name));
    for (const { name } of nodes) this.known.set(name, now);

    // An error says that a node is subscribed, so it is counted, and does not answer:
    // that one is missing for as long as it lasts. One that has died is not counted.
    const missing = [];
    for (const [name, seen] of this.known) {
      if (seen === now) continue;
      if (err || now - seen < FORGET) missing.push(name);
      else this.known.delete(name);
    }
    return { nodes, missing };
  }

  // members finds the members of a room on every node. The adapter's request fails if one
  // node does not respond. Then the result has this node's members, and missing lists the
  // nodes.
  async members(room) {
    const found = await this.ns.in(room).fetchSockets().catch(() => this.ns.local.in(room).fetchSockets());
    const { missing } = await this.ask();
    const members = found.map(({ id, data }) => ({ id, name: data.name, node: data.node }));
    return { members: members.sort((a, b) => a.name.localeCompare(b.name)), missing };
  }
}

module.exports = { Fleet };
