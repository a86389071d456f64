// @socket.io/redis-adapter 7.2 with socket.io 4.8.
"use strict";

module.exports = { create: require("./v8").using({ adapter: "socket.io-redis-adapter-7", server: "socket.io" }) };
