// Values between the Go tests and a peer: JSON, in which an object with one key that starts with
// "$" stands for a value that JSON does not have.
"use strict";

function encode(v) {
  if (v === undefined) return { $undefined: true };
  if (typeof v === "bigint") return { $int: String(v) };
  if (typeof v === "number") {
    if (Number.isFinite(v) && !Object.is(v, -0)) return v;
    return { $float: Object.is(v, -0) ? "-0" : String(v) };
  }
  if (typeof v === "function") return { $function: true };
  if (v === null || typeof v !== "object") return v;
  if (Buffer.isBuffer(v)) return { $bin: v.toString("base64") };
  if (v instanceof ArrayBuffer) return { $bin: Buffer.from(v).toString("base64") };
  if (ArrayBuffer.isView(v)) {
    return { $bin: Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString("base64") };
  }
  if (v instanceof Date) return { $date: String(v.getTime()) };
  if (Array.isArray(v)) return v.map(encode);
  if (v instanceof Set) return [...v].map(encode);
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, encode(x)]));
}

function decode(v) {
  if (v === null || typeof v !== "object") return v;
  if (Array.isArray(v)) return v.map(decode);
  const keys = Object.keys(v);
  if (keys.length === 1) {
    switch (keys[0]) {
      case "$undefined": return undefined;
      case "$float": return v.$float === "-0" ? -0 : Number(v.$float);
      case "$int": return BigInt(v.$int);
      case "$bin": return Buffer.from(v.$bin, "base64");
      case "$date": return new Date(Number(v.$date));
    }
  }
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, decode(x)]));
}

module.exports = { encode, decode };
