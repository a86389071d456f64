// Clients only, of servers of any kind: of socket.io-client 4.8.
"use strict";

const { Manager } = require("socket.io-client");
const { attach } = require("../clients");

async function create(config, { report }) {
  const clients = new Map();
  return {
    async connect({ url, ...options }) {
      const socket = await attach(Manager, url, options, report);
      clients.set(options.name, socket);
      return socket.id;
    },
    transport: ({ name }) => clients.get(name).io.engine.transport.name,
    close({ name }) {
      clients.get(name).close();
      clients.delete(name);
    },
  };
}

module.exports = { create };
