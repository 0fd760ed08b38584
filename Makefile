# Everything that is done with this tree has a name here. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
FUZZTIME ?= 1m
SOAK ?= 20m
BENCHTIME ?= 1s
COUNT ?= 10
ROUNDS ?= 10
ARGS ?=

TOOL := $(GO) tool -modfile=tools/go.mod

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/jackfield, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/jackfield ./cmd/jackfield

.PHONY: run
run: build ## build and serve on 127.0.0.1:8420, with demo servers unless ARGS="--config FILE"
	@exec bin/jackfield serve $(ARGS)

.PHONY: test
test: ## set up and run every test: race detector, real clients and servers, conformance suite
	@e2e/run setup
	$(GO) test -race -shuffle=on ./...
	e2e/run test

.PHONY: check
check: ## everything a change must pass: format, lint, tests, imports, tidiness, dead code, vulnerabilities
	@GO='$(GO)' tools/check

.PHONY: bench
bench: ## run the Go benchmarks (10,000 servers and 100,000 users among them) COUNT=10 times and the contenders of bench/ for ROUNDS=10; bench.out, calls.out and storm.out
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./... | tee bench.out
	$(TOOL) benchstat bench.out
	@rm -rf calls.out
	$(GO) run ./bench -rounds $(ROUNDS) -out calls.out
	$(TOOL) benchstat calls.out/*.txt
	$(GO) run ./bench -storm | tee storm.out

.PHONY: soak
soak: ## let servers fail in every way for SOAK=20m; fails when anything grows
	JACKFIELD_SOAK='$(SOAK)' $(GO) test -count=1 -timeout 24h -run TestNothingGrowsHoweverLongFaultsGoOn -v ./faults | grep --line-buffered -v '^=== '

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME=1m
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' tools/fuzz
