// One user's connection to the fleet: to one node at a time, and to another one if that node is
// lost. It keeps the list of rooms and joins them again.

const REFUSED = 3000; // milliseconds after which an unresponsive node counts as lost
const ANSWER = 5000; // milliseconds after which an acknowledgement is given up

// Connection reports through the functions in on:
//
//   state(state, detail)  "connecting", "connected", "lost", "kicked", "refused", "offline"
// an event of the server
//   joined(room, answer)  a room was joined, also again
export class Connection {
  #nodes;
  #on;
  #socket = null;
  #auth = {};
  #at = 0; // index of the current node
  #failures = 0; // attempts since the last connection
  #timer = 0;

  rooms = new Set();

  constructor(nodes, on) {
    this.#nodes = nodes;
    this.#on = on;
  }

  // node is the node of the current connection or attempt.
  get node() {
    return this.#nodes[this.#at];
  }

  get connected() {
    return this.#socket?.connected ?? false;
  }

  // id is the socket's id, as other users see it.
  get id() {
    return this.#socket?.id;
  }

  // open connects to a node, and after a failure to any node, until close is called.
  open(name, nodeName) {
    this.#drop();
    this.#auth = { name };
    this.#at = Math.max(0, this.#nodes.findIndex((node) => node.name === nodeName));
    this.#failures = 0;
    this.#attempt();
  }

  close() {
    this.#drop();
    this.#on.state("offline");
  }

  // ask emits an event and resolves with the server's acknowledgement. Without one in time, or
  // without a connection, it resolves with {ok: false, error}.
  async ask(event, ...args) {
    if (!this.connected) return { ok: false, error: "not connected" };
    try {
      return await this.#socket.timeout(ANSWER).emitWithAck(event, ...args);
    } catch (err) {
      return { ok: false, error: err.message };
    }
  }

  async join(room) {
    const answer = await this.ask("join", room);
    if (answer.ok) this.rooms.add(room);
    this.#on.joined(room, answer);
  }

  async leave(room) {
    this.rooms.delete(room);
    await this.ask("leave", room);
  }

  #attempt() {
    this.#on.state("connecting", this.node);
    const socket = (this.#socket = window.io(new URL("/chat", this.node.url).href, {
      auth: this.#auth,
      transports: ["websocket"],
      forceNew: true,
      reconnection: false, // the stock client would reconnect to the same node
      timeout: REFUSED,
    }));
    let kicked = null;

    socket.on("connect", async () => {
      this.#failures = 0;
      for (const room of this.rooms) await this.join(room);
      if (this.#socket === socket) this.#on.state("connected", this.node);
    });
    socket.on("connect_error", (err) => {
      if (socket.active) return this.#next(socket); // no response: try another node
      this.#drop();
      this.#on.state("refused", err.message); // the server refused the client
    });
    socket.on("disconnect", (reason) => {
      if (kicked) {
        this.#drop();
        return this.#on.state("kicked", kicked);
      }
      this.#next(socket, reason);
    });
    socket.on("kicked", (by) => (kicked = by));
    socket.onAny((name, data) => this.#on.event(name, data));
  }

  // next tries the next node, after a pause that grows with the failures.
  #next(socket, reason) {
    if (this.#socket !== socket) return; // closed in between
    this.#drop();
    if (reason) this.#on.state("lost", { node: this.node, reason });
    this.#at = (this.#at + 1) % this.#nodes.length;
    const wait = Math.min(2000, 150 * this.#failures++);
    this.#timer = setTimeout(() => this.#attempt(), wait * (0.75 + Math.random() / 2));
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.offAny();
    socket?.off();
    socket?.disconnect();
  }
}
