// @socket.io/redis-adapter 7.1 with socket.io 4.4.
"use strict";

module.exports = { create: require("./v8").using({ adapter: "socket.io-redis-adapter-7.1", server: "socket.io-4.4" }) };
