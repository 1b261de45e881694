# Tidemark. `make` prints what there is; `make demo` and `make test` need nothing but Go.

# Tools live in a module of their own, so that the product does not depend on them.
TOOL := go tool -modfile=tools/go.mod
BIN := bin/tidemark
DURATION ?= 5m
SEEDS ?= 100
PARALLEL ?= 3
SMOKE_MIXES ?= kill+partition,power,members
TIMES ?= 20
TRIALS ?= 20
SUBSCRIPTIONS ?= 100000
PEERS ?=
GROWTH ?=
CHAT ?= $(CURDIR)/testdata/irc-sample.jsonl.gz
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help build demo run test coverage bench check verify-format verify-vet verify-staticcheck \
	verify-generated verify-bench fix-format fix-generated test-chat test-search test-snapshot-1gib test-restart-5m fuzz sim sim-bugs jepsen-smoke jepsen jepsen-scripts \
	jepsen-failover jepsen-bugs bench-tail bench-fanout bench-growth bench-peers clean

help: ## print the targets
	@grep -hE '^[a-z0-9%-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-22s %s\n", $$1, $$2}'

build: ## build bin/tidemark
	go build -ldflags "-X main.version=$(VERSION)" -o $(BIN) ./cmd/tidemark

demo: build ## three nodes, real chat, a leader killed in the middle: nothing lost, doubled or out of order
	$(BIN) demo --input testdata/irc-sample.jsonl.gz

run: build ## keep a local cluster of three nodes up, until Ctrl-C
	$(BIN) dev --nodes 3 --data-dir build/dev --base-port 7400

# Nothing is taken from the cache: some tests build and run programs that it does not know of.
test: ## all tests, with the race detector
	go test -race -count=1 -timeout 20m ./...

coverage: ## statement coverage of the three lower floors
	go test -cover ./pebblestore ./fsm ./raftnode/...

bench: ## Go benchmarks of every floor
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## each fuzz test for 20 seconds
	@for package in $$(go list ./...); do \
		for fuzz in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$fuzz$$" -fuzztime 20s $$package || exit 1; \
		done; \
	done

check: verify-format verify-vet verify-staticcheck verify-generated verify-bench ## all checks that are not tests

verify-format: ## fail if gofmt would change a file
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "run make fix-format; gofmt would change:"; echo "$$unformatted"; exit 1; fi

fix-format: ## format all files
	git ls-files '*.go' | xargs gofmt -w

verify-vet: ## go vet, also of what only the build with planted bugs has
	go vet ./...
	go vet -tags plantedbugs ./internal/planted

verify-staticcheck: ## staticcheck
	$(TOOL) staticcheck ./...

verify-generated: ## fail if the generated code is not that of the .proto files
	$(TOOL) buf lint
	@$(MAKE) --no-print-directory fix-generated
	@stale=$$(git status --porcelain -- '*.pb.go'); \
	if [ -n "$$stale" ]; then echo "generated code is not up to date; commit:"; echo "$$stale"; exit 1; fi

verify-bench: ## the module that compares with other systems: vet, and its quick tests
	go vet -C bench ./...
	go test -C bench -short ./...

fix-generated: ## generate code from the .proto files
	$(TOOL) buf generate

test-chat: ## import CHAT=file.jsonl.gz twice into three nodes, export it, and compare
	TIDEMARK_CHAT=$(abspath $(CHAT)) go test -count=1 -v -timeout 15m -run 'TestChat$$' ./internal/e2e

test-search: ## the search example: DATA=file.jsonl.gz (the sample if not given) indexed while the leader is killed, and recounted
	cd examples/search && go vet . && TIDEMARK_CHAT=$(if $(DATA),$(abspath $(DATA))) go test -count=1 -v -timeout 15m .

test-snapshot-1gib: ## a follower catches up by a snapshot of more than 1 GiB while appends go on
	TIDEMARK_LONG=1 go test -count=1 -v -timeout 30m -run TestSnapshotStream ./internal/e2e

test-restart-5m: ## restart a node with 5 million messages
	TIDEMARK_LONG=1 go test -count=1 -v -timeout 30m -run 'TestRestart$$' ./internal/e2e

sim: ## the cluster in virtual time: planted bugs, SEEDS seeds of one virtual minute of faults each, the library's traps
	go test -count=1 -v -timeout 60m ./jepsen/sim -sim.seeds=$(SEEDS) -sim.minutes=1 -sim.trials=100 -sim.bugs

sim-bugs: ## the cluster in virtual time, built with a bug on purpose: each is found
	for bug in no-read-index no-dedupe cursor-regress applied-outside-batch unread-by-device unread-redacted changes-skip fan-out-in-two snapshot-without-cursors; do \
	  TIDEMARK_PLANTED_BUG=$$bug go test -count=1 -v -tags plantedbugs ./jepsen/sim -run TestPlantedBuild || exit 1; \
	done

jepsen-smoke: ## fault injection on real processes in under three minutes
	rm -rf build/jepsen/smoke
	go run ./jepsen/cmd/jepsen suite --mixes $(SMOKE_MIXES) --duration 20s --porcupine 5s --out build/jepsen/smoke

jepsen: ## each mix of faults for DURATION in clusters of three nodes and of five, PARALLEL runs at a time; goes on where it stopped
	go run ./jepsen/cmd/jepsen suite --nodes 3,5 --parallel $(PARALLEL) --duration $(DURATION) --out build/jepsen/suite

jepsen-scripts: ## part-kill and pause-kill, TIMES times each in a fresh cluster
	go run ./jepsen/cmd/jepsen run --mix part-kill --rounds 1 --repeat $(TIMES) --duration 1m --porcupine 5s --out build/jepsen/part-kill
	go run ./jepsen/cmd/jepsen run --mix pause-kill --rounds 1 --repeat $(TIMES) --duration 1m --porcupine 5s --out build/jepsen/pause-kill

jepsen-failover: ## the longest time without an append when the leader is lost in each way, TRIALS times each
	go run ./jepsen/cmd/jepsen failover --trials $(TRIALS) --out build/jepsen/failover

jepsen-bugs: ## servers with a bug on purpose: each is found by the checker that is there for it
	go run ./jepsen/cmd/jepsen bugs --out build/jepsen/bugs

bench-tail: build ## tails of three nodes: memory of a subscription, latency of delivery, speed of catching up
	$(BIN) bench tail --local 3 --subscriptions $(SUBSCRIPTIONS) --duration 30s --backlog 1000000

bench-fanout: build ## fan-outs of three nodes to sets of 10 to 5,000 inboxes: entries a second, bytes of the Raft log
	$(BIN) bench fanout --local 3 --sets 10,100,500,5000

bench-growth: build ## what growth of messages, timelines, payloads and tails costs, into docs/growth.md; GROWTH=flags, such as GROWTH="--dimensions tails"
	$(BIN) bench growth --local 3 --markdown docs/growth.md $(GROWTH)

bench-peers: ## the same work by NATS JetStream, etcd, Redis, PostgreSQL and the bare library, into docs/benchmarks.md; PEERS=flags, such as PEERS=--resume
	go run -C bench . $(PEERS)

jepsen-%: ## one nemesis or mix: make jepsen-power DURATION=2m
	go run ./jepsen/cmd/jepsen run --mix $* --duration $(DURATION) --out build/jepsen/$*

clean: ## remove what was built and the data of make run
	rm -rf bin build bench/build
