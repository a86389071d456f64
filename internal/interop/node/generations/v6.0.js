// socket.io-redis 6.0 with socket.io 3.
"use strict";

module.exports = { create: require("./v6").using({ adapter: "socket.io-redis-6.0", server: "socket.io-3" }) };
