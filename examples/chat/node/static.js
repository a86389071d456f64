// The page's files, and the addresses of the fleet.
"use strict";

const fs = require("node:fs/promises");
const path = require("node:path");

const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml" };

// The page loads its own files and connects to nodes, and nothing else. As in ../page/page.go.
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self' blob: ws: wss:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
};

// servePage returns a handler for GET / and all paths below it, and GET /nodes.json.
function servePage(dir, nodes) {
  return async (req, res) => {
    for (const [name, value] of Object.entries(HEADERS)) res.setHeader(name, value);
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
