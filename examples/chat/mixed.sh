#!/usr/bin/env bash
# A mixed fleet: a redis-server, two Go nodes and a Node.js node, which offer the same
# page. Ctrl-C ends all of them. PORT (default 8081) is the first of four ports: those of
# the nodes, and that of the redis-server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../.. && pwd)
port=${PORT:-8081}
PATH="$PATH:$root/.tools"

[[ -d node/node_modules ]] || { echo "the Node.js packages are missing; run: make setup" >&2; exit 1; }

for p in "$port" $((port + 1)) $((port + 2)) $((port + 3)); do
	! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "port $p is in use; PORT=… chooses four others" >&2; exit 1; }
done

tmp=$(mktemp -d)
pids=()
finish() {
	trap - EXIT
	trap '' INT TERM
	# Nodes say goodbye over Redis.
	local pid
	for pid in "${pids[@]:1}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${pids[@]:1}"; do wait "$pid" || true; done
	for pid in "${pids[@]:0:1}"; do kill "$pid" 2>/dev/null || true; done
	wait
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$tmp/chat" "${SERVER:-.}" # SERVER=../socketio: that of zishang520

redis="redis://127.0.0.1:$((port + 3))"
set -m # in a process group of its own, which Ctrl-C spares
redis-server --bind 127.0.0.1 --port "$((port + 3))" --save '' --dir "$tmp" --loglevel warning >"$tmp/redis.log" &
pids+=($!)
set +m
for _ in $(seq 100); do
	if (exec 3<>"/dev/tcp/127.0.0.1/$((port + 3))") 2>/dev/null; then break; fi
	sleep 0.1
done
kill -0 "${pids[0]}" 2>/dev/null || { cat "$tmp/redis.log" >&2; exit 1; }

nodes='[
	{"name":"go-1","url":"http://127.0.0.1:'$port'","kind":"go"},
	{"name":"go-2","url":"http://127.0.0.1:'$((port + 1))'","kind":"go"},
	{"name":"node-1","url":"http://127.0.0.1:'$((port + 2))'","kind":"node"}]'
"$tmp/chat" --name go-1 --port "$port" --broker "$redis" --nodes "$nodes" &
pids+=($!)
"$tmp/chat" --name go-2 --port "$((port + 1))" --broker "$redis" --nodes "$nodes" &
pids+=($!)
node node/server.js --name node-1 --port "$((port + 2))" --broker "$redis" --nodes "$nodes" &
pids+=($!)
echo "redis-server on 127.0.0.1:$((port + 3)); Go nodes are processes ${pids[1]} and ${pids[2]}, the Node.js node is ${pids[3]}: kill one and watch"

# The others go on when one has ended; redis-server not without any node.
alive() {
	local pid
	for pid in "${pids[@]:1}"; do
		if kill -0 "$pid" 2>/dev/null; then return 0; fi
	done
	return 1
}
while alive; do wait -n || true; done
