# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH :=

.PHONY: help demo test setup lint unit integration molecule compat docs docs-check pictures bench faults lab-up lab-down build lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: setup ## Kill a real primary database under load and recover it
	@scripts/demo

test: setup ## Run every test that CI runs
	@scripts/test

setup: ## Install everything into .venv
	@PYTHON=$(PYTHON) scripts/setup

lint: setup ## Style and type gates
	ruff check .
	ruff format --check .
	mypy
	yamllint --strict .
	ansible-lint --strict --offline
	antsibull-changelog lint

unit: setup ## Fast tests, no server
	pytest -q -n 2 tests/unit

compat: setup ## The unit and playbook tests on the oldest and the newest ansible-core
	@scripts/compat

integration: setup ## Tests on real servers
	recovery-lab up --fresh
	pytest -q -m "not slow" tests/integration tests/lab

molecule: setup ## A scenario per role and per checklist
	@scripts/molecule

docs: setup ## Generate the reference from specs and DOCUMENTATION
	PYTHONPATH=.collections python scripts/reference.py

docs-check: setup ## Fail if the generated reference is not up to date
	PYTHONPATH=.collections python scripts/reference.py --check

pictures: setup ## Make the README's pictures anew, from a real demo
	@scripts/pictures

bench: setup ## Benchmarks, ratios within one run; BENCH=name for one
	recovery-lab build --profile scale
	recovery-lab build
	PYTHONPATH=.collections:runner:lab python -m tests.benchmarks $(BENCH)

faults: setup ## The long fault campaigns; RECOVERY_FAULTS_SECONDS bounds each, docs/faults.md is renewed
	recovery-lab up --fresh
	RECOVERY_FAULTS_RECORD=1 pytest -q tests/faults
	pytest -q -m slow tests/integration

lab-up: setup ## Bring the lab up
	recovery-lab up

lab-down: setup ## Take the lab down
	recovery-lab down

build: setup ## The collection tarball and the wheel, into dist/
	@mkdir -p dist
	ansible-galaxy collection build --force --output-path dist
	python -m build --no-isolation --wheel --outdir dist .

lock: setup ## Renew the locked requirements
	@scripts/lock

clean: ## Remove what was made here (the lab first)
	@if [ -x $(BIN)/recovery-lab ]; then $(BIN)/recovery-lab down; fi
	rm -rf .ansible .venv .venv-oldest .venv-newest .collections .cache .recovery build dist .mypy_cache .ruff_cache .pytest_cache
