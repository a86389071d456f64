// The other nodes, as far as this node knows them from their responses.
"use strict";

// FORGET is the time, in milliseconds, for which a node that no longer responds is listed as
// missing. After that it is not listed.
const FORGET = 10_000;

// PREFIX keeps the rooms that users name apart from those of the sockets' ids.
const PREFIX = "room:";

class Fleet {
  constructor(ns, name) {
    this.ns = ns;
    this.name = name;
    this.since = Date.now();
    this.known = new Map(); // name → time of its last response
    this.asking = null;
    ns.on("stats", (ack) => ack(this.stats()));
  }

  // stats is this node's response to the event "stats".
  stats() {
    const { rooms } = this.ns.adapter;
    return {
      name: this.name,
      kind: "node",
      sockets: this.ns.sockets.size,
      rooms: [...rooms.keys()].filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length)).sort(),
      since: this.since,
    };
  }

  // ask sends a request to every node. Pages ask each second: those that ask during a request share
  // its result.
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

    // An error means that a node is subscribed, so it is counted, and does not respond. It is
    // missing as long as that lasts. A crashed node is not counted.
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
    const members = await this.list(room).catch(() => this.list(room, this.ns.local));
    const { missing } = await this.ask();
    return { members, missing };
  }

  // list returns the members of a room, who has been connected for the longest time first.
  async list(room, ns = this.ns) {
    const found = await ns.in(PREFIX + room).fetchSockets();
    const members = found.map(({ id, data }) => ({ id, name: data.name, node: data.node, since: data.since ?? 0 }));
    return members.sort((a, b) => a.since - b.since || (a.id < b.id ? -1 : 1));
  }
}

module.exports = { Fleet, PREFIX };
