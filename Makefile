# Pilotage. `make help` lists what can be done; the README says what it installs and how long it takes.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

$(VENV)/.installed: pyproject.toml
	@echo "· Python packages into $(VENV)" >&2
	@test -x $(PYTHON) || python3 -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m pip install --quiet --editable '.[operator,engine,console,development]'
	@touch $@

.PHONY: venv
venv: $(VENV)/.installed ## the virtual environment in .venv

.PHONY: programs
programs: venv ## build the cluster's programs into build/bin (about 11 minutes the first time)
	@$(PYTHON) -m e2e.cluster build

.PHONY: light-programs
light-programs: venv
	@$(PYTHON) -m e2e.cluster build --only light

.PHONY: cluster
cluster: venv ## a cluster: CLUSTER=embedded, kind or current
	@$(PYTHON) -m e2e.cluster up

.PHONY: cluster-down
cluster-down: venv ## end the cluster and take away everything that it left
	@$(PYTHON) -m e2e.cluster down

.PHONY: kubeconfig
kubeconfig: venv ## print the path of the cluster's kubeconfig
	@$(PYTHON) -m e2e.cluster kubeconfig

.PHONY: images
images: venv ## build the container images into build/images
	@$(PYTHON) -m e2e.images build

.PHONY: demo
demo: venv ## a trading company gets its ERP: cluster, operator, six modules, migration, acceptance (PROFILE=Standard: you sign)
	@$(PYTHON) -m e2e.demo run $(if $(PROFILE),--profile $(PROFILE))

.PHONY: crds
crds: venv ## generate crds/ from the pydantic models
	@$(PYTHON) -m pilotage.api.crd crds/

.PHONY: check
check: venv ## ruff, mypy, import-linter, crds drift
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PYTHON) -m pilotage.api.crd --check crds/
	@if test -x build/bin/helm; then build/bin/helm lint --strict charts/pilotage; else echo "· no build/bin/helm yet: the charts are linted by test-light"; fi

.PHONY: test-unit
test-unit: venv ## unit and simulation tests: no cluster, no database
	$(VENV)/bin/pytest -q -m "not light and not embedded and not postgresql and not prometheus" --ignore tests/attacks

.PHONY: test-light
test-light: light-programs ## contract and integration tests on etcd, kube-apiserver and controller-manager
	$(VENV)/bin/pytest -q -m "light and not embedded" --ignore tests/attacks

.PHONY: test-attacks
test-attacks: light-programs ## attacks on the operator, on a real API server too
	$(PYTHON) -m tests.attacks

MINUTES ?= 10
SEED ?= $(shell git rev-list --count HEAD)

.PHONY: test-faults
test-faults: light-programs ## single faults between operator and API server for MINUTES (10), sampled with SEED
	$(PYTHON) -m tests.faults sweep --minutes $(MINUTES) --seed $(SEED)

PAIRS ?= 500
.PHONY: soak-faults
soak-faults: light-programs ## every single fault, PAIRS (500) of them, long outages (many hours); writes into docs/reliability.md
	$(PYTHON) -m tests.faults run tests/faults/long/*.yaml
	$(PYTHON) -m tests.faults sweep --seed $(SEED) --document docs/reliability.md
	$(PYTHON) -m tests.faults sweep --seed $(SEED) --pairs $(PAIRS)

.PHONY: test-mutants
test-mutants: light-programs ## known bugs put into a copy of the code: do the tests notice? (minutes; not in make test)
	$(PYTHON) -m tests.mutants --document docs/reliability.md

.PHONY: test-migration
test-migration: venv ## the data engine on a real PostgreSQL; evidence from a real Prometheus
	$(VENV)/bin/pytest -q -m "(postgresql or prometheus) and not embedded"

.PHONY: test-e2e
test-e2e: programs ## scenarios on the embedded cluster with real pods
	$(VENV)/bin/pytest -q -m embedded tests/e2e tests/cluster

.PHONY: test
test: ## everything, fast checks first
	$(MAKE) --no-print-directory check
	$(MAKE) --no-print-directory test-unit
	$(MAKE) --no-print-directory test-light
	$(MAKE) --no-print-directory test-attacks
	$(MAKE) --no-print-directory test-migration
	$(MAKE) --no-print-directory test-faults
	$(MAKE) --no-print-directory test-e2e

LOCKS := operator engine
SUPPLY_CHAIN := build/supply-chain

$(SUPPLY_CHAIN)/.installed: pyproject.toml
	@python3 -m venv $(SUPPLY_CHAIN) && $(SUPPLY_CHAIN)/bin/python -m pip install --quiet 'cyclonedx-bom>=7' 'pip-audit>=2.9' 'pip-tools>=7.5'
	@touch $@

.PHONY: lock
lock: $(SUPPLY_CHAIN)/.installed ## name anew what the images hold, by version and digest
	@for name in $(LOCKS); do \
	    CUSTOM_COMPILE_COMMAND="make lock" $(SUPPLY_CHAIN)/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-annotate \
	        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra $$name \
	        --output-file e2e/images/$$name/requirements.lock pyproject.toml; \
	done

.PHONY: audit
audit: $(SUPPLY_CHAIN)/.installed ## bills of materials of the images, and their known holes (asks the Internet)
	@for name in $(LOCKS); do \
	    $(SUPPLY_CHAIN)/bin/cyclonedx-py requirements --output-reproducible -o $(SUPPLY_CHAIN)/$$name.cdx.json e2e/images/$$name/requirements.lock; \
	    $(SUPPLY_CHAIN)/bin/pip-audit --strict --disable-pip --require-hashes -r e2e/images/$$name/requirements.lock; \
	done

.PHONY: bench
bench: light-programs ## figures of speed and size; asserts nothing
	$(PYTHON) -m bench

ROWS ?= 200000
.PHONY: bench-migration
bench-migration: venv ## the data engine beside psql's copy of the same rows (ROWS=1000000); asserts nothing
	$(PYTHON) -m bench.migration --rows $(ROWS)

.PHONY: clean
clean: ## remove the virtual environment and caches, keep build/bin
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
