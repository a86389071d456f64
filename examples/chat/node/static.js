// The page's files, and the addresses of the fleet.
"use strict";

const fs = require("node:fs/promises");
const path = require("node:path");

const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };

// servePage returns a handler for GET / and all paths below it, and GET /nodes.json.
function servePage(dir, nodes) {
  return async (req, res) => {
    if (req.method !== "GET") return res.writeHead(405).end();
    try {
      const { pathname } = new URL(req.url, "http://localhost");
      if (pathname === "/nodes.json") {
        res.writeHead(200, { "content-type": "application/json" });
        return res.end(JSON.stringify(nodes));
      }
      const file = path.join(dir, path.normalize(pathname === "/" ? "/index.html" : decodeURIComponent(pathname)));
      const body = await fs.readFile(file);
      const type = TYPES[path.extname(file)] || "application/octet-stream";
      res.writeHead(200, { "content-type": `${type}; charset=utf-8` }).end(body);
    } catch {
      res.writeHead(404).end("not found\n");
    }
  };
}

module.exports = { servePage };
