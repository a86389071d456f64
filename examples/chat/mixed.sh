#!/usr/bin/env bash
# A mixed fleet: a redis-server, two Go nodes and a Node.js node, which offer the same
# page. Ctrl-C ends all of them. PORT (default 8081) is the first of three ports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../.. && pwd)
port=${PORT:-8081}
PATH="$PATH:$root/.tools"

[[ -d node/node_modules ]] || { echo "the Node.js packages are missing; run: make setup" >&2; exit 1; }

tmp=$(mktemp -d)
pids=()
finish() {
	trap - EXIT INT TERM
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait
	rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$tmp/chat" .

# The port after the nodes.
redis="redis://127.0.0.1:$((port + 3))"
redis-server --bind 127.0.0.1 --port "$((port + 3))" --save '' --dir "$tmp" --loglevel warning &
pids+=($!)
for _ in $(seq 100); do
	if (exec 3<>"/dev/tcp/127.0.0.1/$((port + 3))") 2>/dev/null; then break; fi
	sleep 0.1
done

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

# The others go on when one has ended.
while ((${#pids[@]} > 0)) && jobs -r | grep -q .; do wait -n || true; done
