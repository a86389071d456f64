// @socket.io/redis-adapter 7.0 with socket.io 4.1, and the socket.io-adapter of their time:
// with 2.3.3, socket.io 4.1 sends its own clients binary data that they cannot read.
"use strict";

module.exports = { create: require("./v6").using({ adapter: "socket.io-redis-adapter-7.0", server: "socket.io-4.1" }) };
