"use strict";

module.exports = { create: require("./sharded").using("dynamic-private") };
