// The page: actions of the user go to the connection, and its reports to the view.

import { Connection } from "./connection.js";
import * as view from "./view.js";

const { $ } = view;
const POLL = 1000; // milliseconds between two requests about the fleet
const GONE = 15_000; // milliseconds for which a lost node stays on the list
const KEEP = 500; // messages of a room
const LARGEST = 900_000; // bytes of a file; a node takes messages of one megabyte

const rooms = new Map(); // name → {name, entries, unread}
const fleet = new Map(); // name → {name, kind, sockets, rooms, state, since}
let current = null; // name of the room on the screen
let me = null; // id of the socket
let file = null; // to be sent with the next message

const nodes = await (await fetch("nodes.json")).json();
const connection = new Connection(nodes, { state: changed, event: heard, joined });
const wanted = new URLSearchParams(location.search);

start();

function start() {
  const here = nodes.find((node) => new URL(node.url).origin === location.origin);
  view.drawNodes(nodes, wanted.get("node") ?? here?.name);
  $("name").value = wanted.get("name") ?? "";
  for (const room of wanted.getAll("room")) connection.rooms.add(room);
  if (connection.rooms.size === 0) connection.rooms.add("lobby");
  if ($("name").value) open();
  else $("name").focus();
  setInterval(look, POLL);
}

// --- actions of the user

$("who").onsubmit = (event) => {
  event.preventDefault();
  open();
};
$("node").onchange = () => connection.connected && open();

$("join").onsubmit = async (event) => {
  event.preventDefault();
  const name = $("room").value.trim();
  $("room").value = "";
  if (name && !rooms.has(name)) await connection.join(name);
  if (rooms.has(name)) pick(name);
};

$("say").onsubmit = (event) => {
  event.preventDefault();
  say();
};
$("text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  say();
};
$("text").onpaste = (event) => event.clipboardData.files.length && choose(event.clipboardData.files[0]);
$("pick").onclick = () => $("file").click();
$("file").onchange = () => choose($("file").files[0]);
$("chosen").querySelector("button").onclick = () => choose(null);

function open() {
  const name = $("name").value.trim();
  if (!name) return $("name").focus();
  connection.open(name, $("node").value);
}

function choose(chosen) {
  if (chosen && chosen.size > LARGEST) {
    note(current, `${chosen.name} is too large: at most ${LARGEST / 1000} kB can be sent.`);
    chosen = null;
  }
  file = chosen ?? null;
  if (!file) $("file").value = "";
  $("chosen").hidden = !file;
  $("chosen").querySelector("span").textContent = file ? file.name : "";
  $("text").focus();
}

async function say() {
  const text = $("text").value;
  const sent = file;
  if (!current || (!text.trim() && !sent)) return;
  const message = { room: current };
  if (text.trim()) message.text = text;
  if (sent) Object.assign(message, { file: await sent.arrayBuffer(), fileName: sent.name });
  $("text").value = "";
  choose(null);
  const answer = await connection.ask("say", message);
  if (answer.ok) return;
  note(message.room, `Not sent: ${answer.error}.`);
  if (!$("text").value) $("text").value = text;
}

function pick(name) {
  current = name;
  const room = rooms.get(name);
  if (room) room.unread = 0;
  drawRooms();
  view.drawLog(room?.entries ?? [], me);
  members();
}

async function leave(name) {
  connection.leave(name);
  rooms.delete(name);
  if (current === name) pick([...rooms.keys()][0] ?? null);
  else drawRooms();
  $("text").focus();
}

async function kick(id) {
  const answer = await connection.ask("kick", { id, room: current });
  if (!answer.ok) note(current, `Not kicked: ${answer.error}.`);
  members();
}

// --- reports of the connection

function changed(state, detail) {
  const name = (node) => view.nodeName(node.name);
  $("connect").textContent = state === "connected" ? "Reconnect" : "Connect";
  switch (state) {
    case "connecting":
      return view.status(state, "Connecting to ", name(detail), "…");
    case "connected":
      $("node").value = detail.name;
      remember();
      $("text").focus();
      return view.status(state, "Connected to ", name(detail));
    case "lost":
      for (const room of rooms.keys()) note(room, `Connection to ${detail.node.name} lost (${detail.reason}). Looking for another node.`);
      return view.status("connecting", "Lost ", name(detail.node));
    case "kicked":
      for (const room of rooms.keys()) note(room, `You were kicked by ${detail.by}.`);
      return view.status("offline", `You were kicked by ${detail.by}.`);
    case "refused":
      $("name").focus();
      return view.status("offline", `Refused: ${detail}.`);
    default:
      return view.status("offline", "Not connected.");
  }
}

function heard(event, data) {
  switch (event) {
    case "node":
      me = connection.id;
      return;
    case "said":
      return said(data);
    case "joined":
      note(data.room, `${data.member.name} joined on ${data.member.node}.`);
      return data.room === current && members();
    case "left":
      if (data.member.id !== me) note(data.room, `${data.member.name} left.`);
      return data.room === current && members();
  }
}

function joined(name, answer) {
  if (!answer.ok) return view.status("connected", `${name} could not be joined: ${answer.error}.`);
  const again = rooms.has(name);
  if (!again) rooms.set(name, { name, entries: [], unread: 0 });
  note(name, again ? `Back in ${name} on ${connection.node.name}.` : `You joined ${name} on ${connection.node.name}.`);
  remember();
  if (current === null) pick(name);
  if (name === current) view.drawMembers(answer.members, [], me, { onkick: kick });
}

function said({ file, ...message }) {
  if (file) {
    message.size = file.byteLength;
    message.url = URL.createObjectURL(new Blob([file], { type: view.imageType(message.fileName) ?? "application/octet-stream" }));
  }
  enter(message.room, message);
}

// --- state

function note(room, text) {
  enter(room, { notice: text });
}

// enter adds an entry to a room.
function enter(name, entry) {
  const room = rooms.get(name);
  if (!room) return;
  room.entries.push(entry);
  for (const old of room.entries.splice(0, room.entries.length - KEEP)) {
    if (old.url) URL.revokeObjectURL(old.url);
  }
  if (name === current) return view.appendEntry(entry, me);
  if (entry.from) room.unread++;
  drawRooms();
}

function drawRooms() {
  view.drawRooms([...rooms.values()], current, { onpick: pick, onleave: leave });
}

async function members() {
  const room = current;
  if (room === null) return view.drawMembers([], [], me, {});
  const answer = await connection.ask("members", room);
  if (answer.ok && room === current) view.drawMembers(answer.members, answer.missing ?? [], me, { onkick: kick });
}

// look requests the state of the fleet. A missing node was listed before and does not respond. A
// node that the server no longer lists as missing is gone.
let looking = false;
async function look() {
  if (looking || !connection.connected) return;
  looking = true;
  const [answer] = await Promise.all([connection.ask("fleet"), members()]);
  looking = false;
  if (!answer.ok) return;

  const now = Date.now();
  const seen = new Map(answer.nodes.map((node) => [node.name, { ...node, state: "up" }]));
  for (const name of answer.missing) seen.set(name, { ...fleet.get(name), name, sockets: 0, rooms: [], state: "missing" });
  for (const [name, node] of fleet) {
    if (!seen.has(name)) seen.set(name, { ...node, state: "gone" });
  }
  for (const [name, node] of seen) {
    const before = fleet.get(name);
    node.since = before?.state === node.state ? before.since : now;
    if (before && before.state !== node.state) tell(name, node.state);
    if (node.state === "gone" && now - node.since > GONE) fleet.delete(name);
    else fleet.set(name, node);
  }
  view.drawFleet([...fleet.values()].sort((a, b) => a.name.localeCompare(b.name)), connection.node.name);
}

// tell shows a change of a node's state in the room on the screen.
function tell(name, state) {
  note(current, { up: `Node ${name} is back.`, missing: `Node ${name} does not answer.`, gone: `Node ${name} is gone.` }[state]);
}

// remember puts name, node and rooms into the address, so that a reload, or a new tab, begins
// there.
function remember() {
  const query = new URLSearchParams({ name: $("name").value, node: connection.node.name });
  for (const room of connection.rooms) query.append("room", room);
  history.replaceState(null, "", `?${query}`);
}
