# `make` alone lists the words. They work with GNU Make 3.81 and newer; scripts/setup.sh prepares .venv when it is needed.

ARGS ?=
MINUTES ?= 5
# One test process a core, but never so many that the embedded model's memory is held ten times.
JOBS ?= auto
# At a desk the tests run in an order drawn by chance; in CI in that of the files, so that a red build is red for its change.
ORDER := $(if $(CI),-p no:randomly,)
PYTHON ?=
export PYTHON

BIN := .venv/bin
SERVE := .venv/.installed-serve
DEV := .venv/.installed-dev
HEADRACE := $(BIN)/headrace
SOURCES := $(wildcard src tests bench scripts)

.DEFAULT_GOAL := help
.PHONY: help serve test check lint types layers docs-check fix cover bench soak lock system clean \
	bench-engine bench-relay bench-money bench-start bench-decide bench-15b bench-streams bench-stepmodel bench-simulate \
	bench-latency bench-request bench-responses bench-injection bench-runs bench-page bench-slices page page-check

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(SERVE) ## set up if needed, then serve (ARGS="--port 9000" and the like are passed on)
	@sh scripts/page.sh
	@exec $(HEADRACE) serve $(ARGS)

page: ## build the page of the workspace (needs Node.js 18.18 or newer, with npm)
	@sh scripts/page.sh must

page-check: ## types of the page's own code, where it can be built
	@sh scripts/page.sh
	@[ ! -d web/node_modules ] || npm --prefix web run --silent check

test: $(DEV) ## set up if needed, then the whole test suite (ARGS="tests/unit -k money" narrows it)
	@sh scripts/page.sh
	@exec $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 4 --dist loadgroup --inline-snapshot=disable $(ORDER) $(ARGS)

check: lint types layers docs-check page-check test ## lint, types, layers, docs, the page, tests: what CI runs

lint: $(DEV) ## format and style, nothing changed
	@$(BIN)/ruff format --quiet --check $(SOURCES) || { echo "not formatted as make fix does it"; exit 1; }
	@$(BIN)/ruff check --quiet $(SOURCES)

types: $(DEV) ## mypy, strict
	@$(BIN)/mypy --no-error-summary

layers: $(DEV) ## which room may import which
	@$(BIN)/lint-imports --no-cache

docs-check: $(DEV) ## links between pages, and what must be documented is
	@$(BIN)/python scripts/docs_check.py

fix: $(DEV) ## format, sort, safe fixes
	@$(BIN)/ruff check --quiet --fix $(SOURCES); $(BIN)/ruff format $(SOURCES)

cover: $(DEV) ## branches of the heads that no test of unit/ or property/ takes
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q tests/unit tests/property
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

bench: bench-start bench-engine bench-relay bench-decide bench-15b bench-streams bench-latency bench-responses bench-money bench-plan bench-injection bench-runs bench-page ## the named benchmarks one after another, with machine and versions

bench-start: $(SERVE) ## fresh environment to first streamed token; start to ready
	@exec $(BIN)/python -m bench.start $(ARGS)

bench-engine: $(SERVE) ## tokens a second of the embedded model, time to the first
	@exec $(BIN)/python -m bench.engine $(ARGS)

bench-relay: $(SERVE) ## processor time of a relayed request, beside nginx
	@exec $(BIN)/python -m bench.relay $(ARGS)

bench-decide: $(DEV) ## what a decision costs, by the number of pools
	@exec $(BIN)/python -m bench.decide $(ARGS)

bench-15b: $(SERVE) ## tokens a minute through one small machine, with prompts of 50,000 to 100,000 tokens
	@exec $(BIN)/python -m bench.fifteen $(ARGS)

bench-latency: $(SERVE) ## latency added at half load, beside nginx
	@exec $(BIN)/python -m bench.latency $(ARGS)

bench-request: $(SERVE) ## what a request costs in the process alone; ARGS=--steps shows where
	@exec $(BIN)/python -m bench.request $(ARGS)

bench-streams: $(SERVE) ## streams held at once, and what each takes
	@exec $(BIN)/python -m bench.streams $(ARGS)

bench-stepmodel: $(DEV) ## how well the step model predicts measured points; ARGS=--write ships its coefficients anew
	@exec $(BIN)/python -m bench.stepmodel $(ARGS)

bench-simulate: $(DEV) ## requests simulated a second, and how near the simulator is to what was measured
	@exec $(BIN)/python -m bench.simulate $(ARGS)

bench-slices: $(DEV) ## a thousandth of a simulated fleet beside a hundredth, with intervals over seeds
	@exec $(BIN)/python -m bench.slices $(ARGS)

bench-responses: $(SERVE) ## Responses and Messages beside chat, per event; batches; kept responses
	@exec $(BIN)/python -m bench.responses $(ARGS)

bench-money: $(SERVE) ## admission and settlement: reserve, log, post
	@exec $(BIN)/python -m bench.money $(ARGS)

bench-plan: $(DEV) ## what a plan takes: 88 pools, 4 terms, 24 scenarios
	@exec $(BIN)/python -m bench.plan $(ARGS)

page-15b: $(DEV) ## write docs/explanation/fifteen-billion.md from the data
	@exec $(BIN)/python -m scripts.fifteen_billion $(ARGS)

bench-injection: ## prompt injection: AgentDojo 1.2.2 replayed under the rules for agents (ARGS="--quick --suite slack")
	@sh scripts/environment.sh injection
	@PYTHONPATH=src:. exec .venv-injection/bin/python -m bench.injection $(ARGS)

bench-runs: $(DEV) ## what an agent's run costs beside its model: events, decisions, confined commands
	@exec $(BIN)/python -m bench.runs $(ARGS)

bench-page: $(DEV) page ## the page: its size, first paint, a thread of 2,000 messages, frames while it streams
	@exec $(BIN)/python -m bench.page $(ARGS)

soak: $(DEV) ## new examples of the properties and new kill -9s for MINUTES=5; what fails is kept
	@exec $(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

lock: ## resolve requirements/*.txt again (needs uv; ARGS=--upgrade for newer versions)
	@sh scripts/lock.sh $(ARGS)

system: ## Debian, Ubuntu: the system packages that some tests and benchmarks use
	@bash scripts/system.sh

clean: ## remove the environment and what tools left; the data folder stays
	rm -rf web/node_modules src/headrace/web/built
	rm -rf .venv .venv-routers .venv-peers .venv-focus .venv-clients .venv-injection .agents .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* build dist
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(SERVE): pyproject.toml requirements/serve.txt
	@sh scripts/setup.sh serve

$(DEV): pyproject.toml requirements/dev.txt
	@sh scripts/setup.sh dev
