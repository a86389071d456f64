// @socket.io/redis-adapter 7 with socket.io 4.8.
"use strict";

module.exports = { create: require("./v8").using("socket.io-redis-adapter-7") };
