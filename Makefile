# Tandem. `make help` lists the targets.

UV_HOME := .cache/uv-bootstrap
UV_VERSION := uv>=0.13,<0.14
UV := $(shell command -v uv 2>/dev/null || echo $(UV_HOME)/bin/uv)
BIN := .venv/bin
# The distribution's interpreter where it has one that fits: it is built with optimisations that save a sixth of the processor
# time of one compiled by hand. Otherwise uv takes what it finds.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.12 /usr/bin/python3.11))
PYTEST_ARGS ?=

.PHONY: help demo test hostile test-k8s test-vllm lint up proto schemas clean

help:  ## Show this help
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# Neither needs rights, nor touches the system's Python: a virtual environment, or a folder where there is pip but no venv.
$(UV_HOME)/bin/uv:
	@rm -rf $(UV_HOME)
	python3 -m venv $(UV_HOME) && $(UV_HOME)/bin/python -m pip install --quiet '$(UV_VERSION)' \
		|| python3 -m pip install --quiet --target $(UV_HOME) '$(UV_VERSION)' \
		|| (echo "install uv (https://docs.astral.sh/uv/) or your system's python3-venv, then try again" >&2; false)

.venv/.synced: pyproject.toml uv.lock | $(if $(findstring $(UV_HOME),$(UV)),$(UV_HOME)/bin/uv)
	$(UV) sync --frozen --quiet $(if $(PYTHON),--python $(PYTHON))
	@touch $@

demo: .venv/.synced  ## Start the whole platform in one process and play every example conversation
	$(BIN)/tandem demo

up: .venv/.synced  ## Start the whole platform in one process, with the example business system
	$(BIN)/tandem up --example

lint: .venv/.synced  ## Style, types, import rules, packs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@for pack in packs/*/; do $(BIN)/tandem pack check $$pack || exit 1; done

test: lint  ## Everything: lint, types, import rules, and all tests, also on a real Kafka and a real Redis
	$(BIN)/pytest $(PYTEST_ARGS)

hostile: .venv/.synced  ## 5,000 tickets whose model means ill, on all processors: no policy broken, no secret told
	$(BIN)/tandem chaos hostile --tickets 5000

test-k8s: .venv/.synced  ## The manifests on a real kube-apiserver with the operators' CRDs and kubeconform; builds them first
	$(BIN)/pytest -m kubernetes tests/deploy

test-vllm: .venv/.synced  ## The gateway over two real vLLM replicas on the CPU; brings vLLM into an environment of its own first
	UV="$(UV)" $(BIN)/pytest -m vllm tests/vllm $(PYTEST_ARGS)

proto: .venv/.synced  ## Generate the gRPC stubs
	$(BIN)/python -m tandem.rpc.generate

schemas: .venv/.synced  ## Generate docs/asyncapi.yaml and docs/schemas
	$(BIN)/tandem schemas

clean:  ## Remove what was generated here; caches in the home folder stay
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .tandem
