# Everything that is run here by hand or by CI. `demo` and `test` need only make and a
# Python; the rest is set up from the hash-locked requirements on the first call.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The first of these that is new enough; `make PYTHON=...` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=
# Tests wait for brokers more than they compute; each worker has a broker of its own. A
# worker that dies ends the run, for pytest-xdist 3.8 may wait forever for its successor.
WORKERS ?= 2
SIDE_BY_SIDE := --numprocesses $(WORKERS) --dist loadfile --max-worker-restart 0

.PHONY: help demo test fuzz test-observe screenshots dashboards simulation faults \
	faults-sample faults-random faults-mutants check bench bench-guard bench-quick \
	bench-scale format lock setup check-format check-lint check-types check-imports check-locks

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

demo: $(READY) ## the whole job on a real Kafka and the Target sandbox (ARGS=--help)
	@$(BIN)/pos-consumer demo $(ARGS)

test: $(READY) ## all tests, WORKERS at once (ARGS="-k name" for some)
	@$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

fuzz: $(READY) ## a million broken payloads, fast codec against safe (ARGS=--help)
	@nice $(BIN)/python -m tests.fuzz $(ARGS)

simulation: $(READY) ## an hour of overload and faults, on a simulated clock
	@$(BIN)/pytest tests/simulation $(ARGS)

faults: $(READY) ## the service under faults, against a recount (under 20 minutes)
	@$(BIN)/pytest $(SIDE_BY_SIDE) --dist load -m "faults and not mutants" tests/faults \
		$(ARGS)

faults-sample: $(READY) ## some of them, in about four minutes: what CI runs
	@$(BIN)/pytest -m "sample and not mutants" tests/faults $(ARGS)

faults-random: $(READY) ## random compositions of faults (ARGS="--runs 100 --seed 1")
	@$(BIN)/python -m tests.faults.composed $(ARGS)

faults-mutants: $(READY) ## the service broken on purpose: every run must notice
	@$(BIN)/pytest $(SIDE_BY_SIDE) --dist load -m mutants tests/faults $(ARGS)

test-observe: $(READY) ## a real Prometheus against the service (Debian or Ubuntu)
	@$(BIN)/pytest tests/observe $(ARGS)

screenshots: $(READY) ## picture the status page anew, for docs/ (Debian or Ubuntu)
	@$(BIN)/python -m tests.observe.screenshots

dashboards: $(READY) ## make Grafana's dashboards and the alerts anew
	@$(BIN)/python -m dashboards

check: check-format check-lint check-types check-imports check-locks ## what CI runs

check-format: $(READY)
	$(BIN)/ruff format --check .

check-lint: $(READY)
	$(BIN)/ruff check .

check-types: $(READY)
	$(BIN)/mypy

check-imports: $(READY)
	$(BIN)/lint-imports --no-cache

check-locks: $(READY)
	! grep -n '://' requirements*.lock consumer/sandbox/*.lock

bench: $(READY) ## measure (ARGS="--help")
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(READY) ## measure the floor and the service, in under two minutes
	@$(BIN)/python -m bench --quick $(ARGS)

bench-scale: $(READY) ## what grows with visitors, attributes, memory, processes
	@$(BIN)/python -m bench.scale --output bench/scale.json $(ARGS)

bench-guard: $(READY) ## fail if the aggregate stage costs twice what it did (1 min)
	@$(BIN)/python -m bench --only floor,aggregate-uniform --events 200_000 \
	--rounds 2 --at-most 7 $(ARGS)

format: $(READY) ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" pyproject.toml

lock: $(READY) ## resolve the requirements and Kafka's jars anew, with their hashes
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --extra demo --output-file requirements-demo.lock
	@$(COMPILE) --extra demo --group dev --output-file requirements-dev.lock
	@$(BIN)/python -m consumer.sandbox.lock_jars

setup: $(READY) ## only what the others do first: build .venv from the lock

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "pos-consumer needs Python 3.11 or newer:" \
	"install one, or name it with 'make PYTHON=/path/to/python'."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot" \
	"make virtual environments: install its venv package (Debian and Ubuntu:" \
	"apt-get install python3-venv), or name another Python with 'make PYTHON=...'."; \
	exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv with" \
	"$$($(PYTHON) --version)."; $(PYTHON) -m venv .venv; }
	@echo "Installing what requirements-dev.lock names (once)."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--require-hashes --requirement requirements-dev.lock
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet \
	--disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from consumer.profiles.warm import warm, warm_rendering; \
	from consumer.events import columns; from consumer.target import percent; \
	warm(); warm_rendering(); percent.warm(); columns.warm()'
	@touch $@
