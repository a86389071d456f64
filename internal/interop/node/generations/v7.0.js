// @socket.io/redis-adapter 7.0 with socket.io 4.1.
"use strict";

module.exports = { create: require("./v6").using({ adapter: "socket.io-redis-adapter-7.0", server: "socket.io-4.1" }) };
