# make demo    the main job, on the embedded memory broker; BROKER=redis://… or nats://… uses that
# make test    fetches what is missing and runs every test, under the race detector
# make bench   side-by-side benchmarks; exit status 1 if a bar is missed; UPDATE=1 writes the figures to docs/BENCHMARKS.md
# make scale   how costs grow with the fleet, to 256 nodes, 100,000 sockets and 1,000,000 rooms; UPDATE=1 writes docs/SCALE.md
# make chat    the chat example: three nodes, on BROKER; MIXED=1: Go and Node.js nodes behind a redis-server;
#              PORT is the first of their ports (default 8081)
# make chat-picture    makes the pictures of the chat example anew, from a real run
# make socketio  the same page on a Socket.IO server in Go with Crossroom as its adapter, beside Node.js, with a redis-server
# make socketio-picture makes its picture anew
# make websocket, make sse   the examples of package hub, two servers each, on BROKER
# make graphql, make connect   chats over GraphQL subscriptions and over streams of Connect, two servers each, on BROKER
# make hub-pictures    makes their pictures anew
# make hub-load      package hub beside centrifuge and melody: N idle connections (default 5000), and ROUNDS broadcasts to them (300)
# make chat-load       5,000 stock clients on three Go nodes, for two minutes
# make rolling-restart two nodes are replaced one after the other under 2,000 WebSocket clients, on BROKER; prints what the
#              clients noticed, and fails if a message is lost or a client disconnected twice
# make trace   one request followed through a fleet, as the picture docs/trace.svg
# make migration       a chat moves from socket.io 2 to socket.io 4, without a break: docs/MIGRATION.md
# make changeover      two Go nodes bridge two fleets of Node.js servers, and the one that does it is closed, killed and
#              stopped, while each side sends MESSAGES (default 10000) at 400 a second; and a burst of 200,000
# make resharding      what slots that move, failovers and masters that come and go do to sharded pub/sub, beside Node.js: docs/RESHARDING.md
# make check   format, vet, staticcheck, tidiness, licences
# make noharm  every operation with generated contents beside Node.js servers of seven versions;
#              UPDATE=1 writes docs/NOHARM.md
# make soak    what time plays a part in, SOAK times on memory (default 1000), and a twentieth of that on Redis and on NATS
# make fuzz    every fuzz target for FUZZTIME (default 10m)
BROKER ?=
MIXED ?=
PORT ?=
FUZZTIME ?= 10m
SOAK ?= 1000
MESSAGES ?= 10000
UPDATE ?=
N ?= 5000
ROUNDS ?= 300
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: changeover resharding migration demo test bench check fuzz noharm soak setup chat websocket sse graphql connect hub-pictures hub-load chat-picture chat-load socketio socketio-picture trace rolling-restart

demo:
	@go run ./demo -broker '$(BROKER)'

setup:
	@scripts/setup

test: setup
	@CROSSROOM_REQUIRE_SERVERS=1 scripts/test

trace:
	@scripts/setup redis node tracing
	@scripts/trace

bench:
	@scripts/setup redis nats node
	@go run ./bench $(if $(UPDATE),-write docs/BENCHMARKS.md)

.PHONY: scale
scale:
	@scripts/setup redis nats
	@go run ./bench -scale $(if $(UPDATE),-write docs/SCALE.md)

ifeq ($(MIXED),)
chat:
	@cd examples && go run ./chat -port '$(or $(PORT),8081)' -broker '$(or $(BROKER),memory)'
else
chat:
	@scripts/setup redis node chat
	@PORT='$(or $(PORT),8081)' examples/chat/mixed.sh
endif

socketio:
	@scripts/setup redis node chat
	@SERVER=../socketio PORT='$(or $(PORT),8081)' examples/chat/mixed.sh

socketio-picture:
	@scripts/setup redis node chat chromium
	@cd examples && CROSSROOM_REQUIRE_SERVERS=1 go test -count=1 -run '^TestSocketIOServer$$' ./chat/browsertest -pictures ../../../docs

websocket sse graphql connect:
	@cd examples && go run ./$@ -broker '$(or $(BROKER),memory)'

hub-load:
	@go run ./bench/hubload -n '$(N)' -rounds '$(ROUNDS)'

hub-pictures:
	@scripts/setup chromium
	@cd examples && CROSSROOM_REQUIRE_SERVERS=1 go test -count=1 ./websocket ./sse -args -pictures ../../docs

chat-picture:
	@scripts/setup redis node chat chromium
	@cd examples && CROSSROOM_REQUIRE_SERVERS=1 go test -count=1 -run '^TestPicture$$' ./chat/browsertest -pictures ../../../docs

rolling-restart:
	@cd examples && go run ./rollingrestart -broker '$(or $(BROKER),memory)'

chat-load:
	@scripts/setup redis node chat
	@cd examples && go run ./chat/load

check:
	@STATICCHECK=$(STATICCHECK) scripts/check

noharm:
	@scripts/setup redis node interop
	@CROSSROOM_NOHARM=full CROSSROOM_REQUIRE_SERVERS=1 go test -count=1 -timeout 2h -run '^TestNoHarm(Sharded)?$$' ./internal/interop $(if $(UPDATE),-update)

soak:
	@scripts/setup redis nats
	@CROSSROOM_SOAK=$(SOAK) go test -race -count=1 -timeout 4h -v -run '^TestSoak$$' ./broker/memory ./broker/redis ./broker/nats

migration:
	@scripts/setup redis node migration
	@cd examples && go run ./migration

changeover:
	@scripts/setup redis node interop
	@CROSSROOM_REQUIRE_SERVERS=1 CROSSROOM_CHANGEOVER=$(MESSAGES) go test -count=1 -timeout 60m -v -run '^TestBridgeChangeOvers$$' ./internal/outage

resharding:
	@scripts/setup redis node interop
	@CROSSROOM_RESHARDING=full CROSSROOM_REQUIRE_SERVERS=1 go test -count=1 -timeout 60m -run '^TestResharding$$' ./broker/redis

fuzz:
	@scripts/fuzz $(FUZZTIME)
