// The screen. Nothing here uses a socket.

export const $ = (id) => document.getElementById(id);

// element makes an element: element("li", {class: "x", onclick: f}, "text", child...).
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") made[key] = value;
    else if (key === "style") made.style.cssText = value; // the attribute would be inline style
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== false));
  return made;
}

// refill replaces a list's items, and keeps the keyboard focus in its place: lists are drawn again
// each second, also while one of their buttons has the focus. If that button was removed, the
// message box gets the focus.
function refill(list, items) {
  const focus = list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  list.replaceChildren(...items);
  if (focus) ([...list.querySelectorAll("[data-key]")].find((button) => button.dataset.key === focus) ?? $("text")).focus();
}

const KINDS = { go: "Go", node: "Node.js" };
const IMAGES = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp" }; // no SVG: it can have scripts

const colours = new Map(); // of nodes, in the order in which they were first seen
export function colour(node) {
  if (!colours.has(node)) colours.set(node, colours.size % 6);
  return `var(--node-${colours.get(node)})`;
}

const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
const badge = (node) => element("span", { class: "badge", style: `--of: ${colour(node)}` }, node);

export function drawNodes(nodes, chosen) {
  const option = ({ name, kind }) => element("option", { value: name }, `${name} (${KINDS[kind] || kind})`);
  $("node").replaceChildren(...nodes.map(option));
  if (chosen) $("node").value = chosen;
  for (const { name } of nodes) colour(name);
}

// status shows the state in one line, which a screen reader reads out.
export function status(state, ...words) {
  document.body.dataset.state = state;
  $("status").replaceChildren(...words);
}

export const nodeName = badge;

// drawRooms lists rooms: [{name, unread}].
export function drawRooms(rooms, current, { onpick, onleave }) {
  const item = ({ name, unread }) =>
    element("li", {},
      element("button", { class: "room", "data-key": `room ${name}`, "aria-current": name === current && "true", onclick: () => onpick(name) },
        element("span", {}, name),
        unread > 0 && element("span", { class: "unread", "aria-label": `${unread} unread` }, String(unread))),
      element("button", { class: "quiet", "data-key": `leave ${name}`, "aria-label": `Leave ${name}`, title: "Leave", onclick: () => onleave(name) }, "×"));
  refill($("rooms"), rooms.map(item));
  $("talk-title").textContent = current ?? "No room";
  $("talk-title").toggleAttribute("data-room", current !== null);
}

// drawMembers lists the members of the room, by node.
export function drawMembers(members, missing, me, { onkick }) {
  const nodes = [...new Set(members.map((member) => member.node))].sort();
  const item = ({ id, name }) =>
    element("li", { class: "member", "data-id": id, "data-name": name },
      element("span", {}, name, id === me && element("em", {}, " you")),
      id !== me && element("button", { class: "quiet kick", "data-key": `kick ${id}`, "aria-label": `Kick ${name}`, onclick: () => onkick(id) }, "Kick"));
  const group = (node) =>
    element("li", { class: "group", "data-node": node, style: `--of: ${colour(node)}` },
      badge(node),
      element("ul", {}, ...members.filter((member) => member.node === node).map(item)));
  refill($("members"), nodes.map(group));
  $("count").textContent = members.length ? String(members.length) : "";
  $("partial").textContent = missing.length ? `Without those on ${missing.join(", ")}, which did not answer.` : "";
}

// drawFleet lists nodes: [{name, kind, sockets, rooms, state, since}], state being
// "up", "missing" or "gone".
export function drawFleet(nodes, here) {
  const up = nodes.filter((node) => node.state === "up");
  const most = Math.max(1, ...up.map((node) => node.sockets));
  const item = ({ name, kind, sockets, rooms, state }) =>
    element("li", { class: "node", "data-node": name, "data-state": state, style: `--of: ${colour(name)}; --share: ${sockets / most}` },
      element("p", {},
        element("strong", {}, name),
        element("span", { class: "kind" }, KINDS[kind] || kind || ""),
        name === here && state === "up" && element("span", { class: "here" }, "you are here"),
        state !== "up" && element("span", { class: "away" }, state)),
      state === "up" && element("p", { class: "load" }, element("i", {}), count(sockets, "socket")),
      state === "up" && element("p", { class: "chips" }, ...rooms.map((room) => element("span", {}, room))));
  refill($("fleet"), nodes.map(item));
  const sum = up.reduce((all, node) => all + node.sockets, 0);
  $("totals").textContent = up.length ? [count(up.length, "node"), count(sum, "socket"), count(new Set(up.flatMap((node) => node.rooms)).size, "room")].join(" · ") : "";
}

// drawLog shows a room's entries; appendEntry adds one to those on the screen.
export function drawLog(entries, me) {
  $("log").replaceChildren(...entries.map((entry) => drawEntry(entry, me)));
  $("log").scrollTop = $("log").scrollHeight;
}

export function appendEntry(entry, me) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  log.append(drawEntry(entry, me));
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// drawEntry draws a message, or a notice: {notice: "text"}.
function drawEntry(entry, me) {
  if (entry.notice) return element("li", { class: "notice" }, entry.notice);
  const { from, node, text, fileName, url, size, at } = entry;
  const time = new Date(at);
  return element("li", { class: from.id === me ? "message mine" : "message", "data-from": from.name, "data-node": node, style: `--of: ${colour(node)}` },
    element("p", { class: "head" },
      element("strong", {}, from.name),
      badge(node),
      element("time", { datetime: time.toISOString() }, time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }))),
    text && element("p", { class: "text" }, text),
    url && drawFile(fileName || "file", url, size));
}

function drawFile(name, url, size) {
  const link = { class: "file", href: url, download: name, "data-file": name, "data-size": size };
  if (imageType(name)) return element("a", link, element("img", { src: url, alt: name }), element("span", {}, name));
  return element("a", link, `${name} · ${size < 1024 ? `${size} bytes` : `${(size / 1024).toFixed(1)} KiB`}`);
}

// imageType returns the media type if the name is that of a picture.
export const imageType = (name = "") => IMAGES[name.toLowerCase().split(".").pop()];
