# Needs Python 3.11 or newer, make and a package index. `make` alone prints this help.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done || true)
PYTHON := $(or $(PYTHON),python3)
BIN := .venv/bin
PYTEST_ARGS ?=
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv check test test-fast test-interop test-citus test-browser walk pictures test-postgres15 bench-rpc bench-firing bench-fleet bench-retention bench-account bench-refusals bench-start bench-console fmt drill rehearsal model simulate mutation demo dev api typescript npm vectors docs lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

venv: ## create .venv and install the pinned versions (every other target does this first)
	@$(PYTHON) .ci/bootstrap.py

check: venv ## formatting, lint, strict types, import layers, recipes: what runs before the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.support.recipes

test: venv ## all tests, on embedded PostgreSQL and NATS (PYTEST_ARGS="-k name" narrows them)
	$(BIN)/pytest -n 3 --dist worksteal --ignore=tests/interop --ignore=tests/browser --ignore=tests/citus $(PYTEST_ARGS)

test-fast: venv ## unit and wire tests without the sweeps over all zones (one file: .venv/bin/pytest FILE)
	$(BIN)/pytest -n 2 --dist worksteal -m "not sweep" tests/unit tests/wire $(PYTEST_ARGS)

rehearsal: venv ## cut over from the platform's job runners under load and back, and count the slots (about eight minutes)
	@$(BIN)/python -m tests.rehearsal $(REHEARSAL_ARGS)

test-interop: venv ## guests and clients in other languages, the real nats program (needs node, npm and go)
	$(BIN)/pytest tests/interop $(PYTEST_ARGS)

test-citus: venv ## the service on a cluster of three nodes (CITUS_BIN names the programs of a PostgreSQL that has Citus)
	DEVSTACK_POSTGRES_BIN=$(CITUS_BIN) $(BIN)/pytest tests/citus $(PYTEST_ARGS)

test-browser: venv ## the console in Chromium on the whole system, held by axe too (needs Debian's chromium)
	$(BIN)/pytest tests/browser $(PYTEST_ARGS)

walk: venv ## time "why did it not run at 02:30?" for each cause, by command line and console (then: make docs)
	@$(BIN)/python -m tests.walk

pictures: venv ## draw the pictures of docs/console.md (needs Debian's chromium)
	@$(BIN)/python -m tests.browser.pictures

POSTGRES15 ?= /usr/lib/postgresql/15/bin
POSTGRES15_TESTS = $(addprefix tests/integration/test_, $(addsuffix .py, admin_schedules concurrent_creates connect consumer \
	create_batch create_plans firing_calls firing_takeover host_operations lost_commit_answers maintenance migrate outbox \
	planner planner_plans pool_recovery queue_cost queue_listener request_pool runtime_role scarce_resources session_defaults))

test-postgres15: venv ## storage, planning, firing and operations on PostgreSQL 15 (POSTGRES15 names its programs)
	DEVSTACK_POSTGRES_BIN=$(POSTGRES15) $(BIN)/pytest -n 3 --dist worksteal $(POSTGRES15_TESTS) $(PYTEST_ARGS)

drill: venv ## kill, freeze and cut off everything for minutes, then check every slot (DRILL_ARGS="--minutes 2")
	@$(BIN)/python -m tests.drill $(DRILL_ARGS)

model: venv ## check the models of planning and attempts with spin, and their mutations (docs/model.md)
	@$(BIN)/python -m model.check $(MODEL_ARGS)

simulate: venv ## years of schedules under a moved clock and faults, each slot accounted for (SIMULATE_ARGS="--seed 1")
	@$(BIN)/python -m tests.simulation $(SIMULATE_ARGS)

mutation: venv ## change one small thing at a time and see whether a test notices (MUTATION_ARGS="rules/slots")
	@$(BIN)/python -m tests.mutation $(MUTATION_ARGS)

demo: venv ## the whole path in about two minutes: an extension schedules itself and is called on time
	@$(BIN)/ext-scheduler demo

dev: venv ## the same stack, kept running until Ctrl-C
	@$(BIN)/ext-scheduler dev

api: venv typescript vectors ## write what is made from the contract: docs/api, npm, vectors
	@mkdir -p .cache
	@$(BIN)/ext-scheduler asyncapi > .cache/api.new && mv .cache/api.new docs/api/asyncapi.json
	@$(BIN)/ext-scheduler asyncapi --as typescript > .cache/api.new && mv .cache/api.new docs/api/ext-scheduler.d.ts
	@$(BIN)/ext-scheduler asyncapi --as wit > .cache/api.new && mv .cache/api.new docs/api/scheduler.wit

typescript: venv ## write the parts of the npm packages that come from the contract and the rules
	@$(BIN)/python -m devstack.testing.npm_files npm/testing
	@$(BIN)/python -m contracts.publish.typescript_client npm/client/src

npm: typescript ## compile npm/testing, which the wheel brings compiled (needs node and npm)
	cd npm/testing && npm install && rm -rf lib && npx tsc

vectors: venv ## write the vectors of the conformance kit
	@$(BIN)/python -m devstack.conformance.vectors

docs: venv ## write the tables of docs/*.md that come from the code
	@$(BIN)/python -m tests.support.guide_tables
	@$(BIN)/python -m tests.support.proof_page

bench-rpc: venv ## what a responder answers a second, next to the bus and the database alone (BENCH_ARGS="--others 1000000")
	@$(BIN)/python -m bench.rpc $(BENCH_ARGS)

bench-firing: venv ## how fast due schedules are fired, next to pgqueuer's no-op drain (about seven minutes)
	@$(BIN)/python -m bench.firing $(BENCH_ARGS)

bench-fleet: venv ## what fleets are needed for 10^6 to 10^8 schedules, from runs here (about ten minutes; BENCH_ARGS="--costs FILE" runs none)
	@$(BIN)/python -m bench.fleet $(BENCH_ARGS)

bench-retention: venv ## removing half of 5,000,000 run records, and pages of history (about five minutes)
	@$(BIN)/python -m bench.retention $(BENCH_ARGS)

bench-account: venv ## what accounting for the past hour of every schedule costs (BENCH_ARGS="--schedules 1000000")
	@$(BIN)/python -m bench.account $(BENCH_ARGS)

bench-console: venv ## the time to the first byte of each page of the console (BENCH_ARGS="--schedules 20000")
	@$(BIN)/python -m bench.console $(BENCH_ARGS)

bench-start: venv ## the processor time that each command takes to start, and to ask once (BENCH_ARGS="--times 3")
	@$(BIN)/python -m bench.start $(BENCH_ARGS)

bench-refusals: venv ## what a flood of refused requests leaves in a responder's memory; fails beyond 20 MB
	@$(BIN)/python -m bench.refusals

LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url \
	--no-annotate --no-header --constraint constraints.txt

lock: venv ## write deploy/lock: what the images install, with the hashes of the package index
	@mkdir -p deploy/lock
	@$(LOCK) --extra bridge --extra console --extra otel -o deploy/lock/service.txt pyproject.toml > /dev/null
	@$(LOCK) --extra console --extra otel --extra dev-runner -o deploy/lock/dev-runner.txt pyproject.toml > /dev/null
	@echo setuptools | $(LOCK) -o deploy/lock/build.txt - > /dev/null

fmt: venv ## format, and repair what lint can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv and everything else that was generated
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
