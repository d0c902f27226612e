# The front door. `make` alone lists its targets.
#
#   make demo                 set up, serve the embedded model, classify images, stop
#   make test PYTHON=python3.13
#
# Everything is installed in .venv; nothing outside this folder is touched.

SHELL  := /bin/bash
VENV   ?= .venv
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
             $$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
             && { echo $$p; break; }; done)
# cpu or gpu: the Paddle to install beside ONNX Runtime (see docs/gpu.md). The embedded model is there
# as ONNX too, and needs none; converting Paddle's exports, and serving bundles without ONNX, does.
PADDLE ?= $(if $(wildcard serving_model/waste/serving_server/onnx),,cpu)
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
CONFIG ?= configs/waste.yml
# Paddle-Lite's tools know Python 3.7 and no newer one, so they live in an environment of their own.
PADDLE_LITE_ENV ?= build/paddle-lite-env
PYTHON37 ?= $(shell for p in python3.7 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.7.*/bin/python; do \
              $$p -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 7))' 2>/dev/null \
              && { echo $$p; break; }; done)
# The official Paddle Serving 0.9 in an environment of its own, and the Python it is made with.
PADDLE_SERVING_ENV  ?= build/paddle-serving-env
PADDLE_SERVING_BASE ?= $(shell for p in python3.8 python3.9 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.[89].*/bin/python; do \
             $$p -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] not in ((3, 8), (3, 9)))' 2>/dev/null \
             && { echo $$p; break; }; done)

# PaddleClas twice: beside the Paddle that writes inference.json, and beside the last one that writes
# .pdmodel. paddlepaddle 2.6 has no wheel for Python 3.13.
PADDLECLAS_ENV  ?= build/paddleclas-env
PADDLECLAS_26_ENV ?= build/paddleclas-2.6-env
PADDLECLAS_BASE ?= $(shell for p in $(PYTHON) python3.11 python3.12 python3.10 python3.9 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[0-2].*/bin/python; do \
             $$p -c 'import ensurepip, sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
             && { echo $$p; break; }; done)

# The libraries of PyTorch and Keras, for tests/conformance.
# The services that are measured beside this one; their pins exclude each other.
PEERS_ENV         := build/peers-env
PEERS_BENTOML_ENV := build/peers-bentoml-env
PEERS_PADDLEX_ENV := build/peers-paddlex-env

FRAMEWORKS_ENV  ?= build/frameworks-env
FRAMEWORKS_BASE ?= $(shell for p in $(PYTHON) python3.11 python3.12 python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.1[1-3].*/bin/python; do \
             $$p -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
             && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo serve test test-all coverage check format proto constraints wheels audit bench soak attack faults fuzz image clean paddle-serving-env paddle-lite-env paddleclas-env paddleclas-source paddledetection-source frameworks-env deployments bench-peers peers-env

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */|/' \
	  | awk -F'|' '{ printf "  make %-19s %s\n", $$1, $$2 }'

# A stamp for what serves, another for what develops. The virtual environment is made anew when
# another Python is asked for.
setup: $(VENV)/.serving $(if $(PADDLE),$(VENV)/.paddle-$(PADDLE))  ## make .venv and install what serving needs (PADDLE=cpu: Paddle too; PYTHON=python3.13)
setup-dev: $(VENV)/.developing  ## the same with the tools for tests and checks

$(VENV)/.serving: setup.cfg constraints.txt $(VENV)/.python
	@echo "==> installing the service and ONNX Runtime; 490 MB of disk, once"
	@$(PIP) -c constraints.txt -e '.[onnx]'
	@touch $@

$(VENV)/.paddle-%: $(VENV)/.serving
	@echo "==> installing Paddle ($*) and what makes ONNX of its models; on the CPU 760 MB of disk, once"
	@$(PIP) -c constraints.txt -e '.[$*,onnx,export]'
	@touch $@

$(VENV)/.developing: $(VENV)/.paddle-$(or $(PADDLE),cpu)
	@echo "==> installing the tools for tests and checks"
	@$(PIP) -c constraints.txt -e '.[$(or $(PADDLE),cpu),onnx,train,export,dev]'
	@touch $@

# Holds the interpreter's version; rewritten only when it differs, so that nothing is reinstalled.
.PHONY: force
$(VENV)/.python: force
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; install one or give PYTHON=/path/to/python3" >&2; exit 1; }
	@want=$$($(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)') || exit 1; \
	if [ "$$want" != "$$(cat $@ 2>/dev/null)" ] || [ ! -x $(BIN)/python ]; then \
	  echo "==> making $(VENV) with $$($(PYTHON) --version)"; \
	  $(PYTHON) -m venv --clear $(VENV) || { echo "error: cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }; \
	  echo "$$want" > $@; \
	fi

paddle-lite-env: $(PADDLE_LITE_ENV)/.installed  ## the environment for export --to paddle-lite (PYTHON37=/path chooses its Python)
	@:

$(PADDLE_LITE_ENV)/.installed: requirements/paddle-lite.txt
	@test -n "$(PYTHON37)" || { echo "error: no Python 3.7 found, the only one that paddlelite 2.12 is made for; install it (pyenv install 3.7) or give PYTHON37=/path/to/python3.7" >&2; exit 1; }
	@echo "==> making $(PADDLE_LITE_ENV) with $$($(PYTHON37) --version) and paddlelite; about 75 MB, once"
	@$(PYTHON37) -m venv --clear $(PADDLE_LITE_ENV)
	@$(PADDLE_LITE_ENV)/bin/python -m pip --disable-pip-version-check install --quiet -r requirements/paddle-lite.txt
	@$(PADDLE_LITE_ENV)/bin/python -c 'from paddlelite import lite'
	@test $(PADDLE_LITE_ENV) = build/paddle-lite-env || echo "==> export PADDLE_LITE_PYTHON=$(abspath $(PADDLE_LITE_ENV))/bin/python for the converter to find it"
	@touch $@

demo: setup  ## serve the embedded model, classify the sample images over HTTP and RPC, stop
	@$(BIN)/python examples/demo.py

serve: setup  ## serve CONFIG (configs/waste.yml) until Ctrl-C
	@$(BIN)/python pipeline/web_service.py --config $(CONFIG)

# One process more than there are cores: much of a test is waiting for processes to start and stop.
# A file stays in one process, and with it the services that its tests share; files are taken in
# order, so that the long ones of tests/e2e are not begun last.
JOBS   ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1 )))
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test: setup-dev  ## run the fast tests, in parallel (ARGS="-k slowloris" chooses some)
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: setup-dev  ## run every test, the slow ones too
	@$(PYTEST) $(ARGS)

coverage: setup-dev  ## run the fast tests and print the branch coverage of each room (SLOW=1: of every test)
	@rm -rf build/coverage && mkdir -p build/coverage
	@$(BIN)/python -m coverage run -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
	  $(if $(SLOW),,-m "not slow") $(ARGS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python tests/coverage_by_room.py

check: setup-dev  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev  ## let ruff put the code in its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev  ## requests/s of the service beside the bare predictor's limit
	$(BIN)/python -m benchmarks throughput $(ARGS)

# An environment that cannot be made is removed, and its services are rows that say so; the rest goes on.
bench-peers: setup-dev peers-env  ## this service beside Mosec, LitServe, BentoML, Ray Serve, PaddleX and 0.9 (ARGS=--resume goes on)
	@$(BIN)/python -m benchmarks peers $(ARGS)

peers-env:  ## the environments of bench-peers; about 3 GB of disk, once
	@for env in $(PEERS_ENV) $(PEERS_BENTOML_ENV) $(PEERS_PADDLEX_ENV); do \
	  $(MAKE) --no-print-directory $$env/.installed || { rm -rf $$env; echo "==> without $$env" >&2; }; \
	done

$(PEERS_ENV)/.installed: requirements/peers.txt
$(PEERS_BENTOML_ENV)/.installed: requirements/peers-bentoml.txt
$(PEERS_PADDLEX_ENV)/.installed: requirements/peers-paddlex.txt
$(PEERS_ENV)/.installed $(PEERS_BENTOML_ENV)/.installed $(PEERS_PADDLEX_ENV)/.installed:
	@echo "==> making $(@D) with $$($(PYTHON) --version) of $<; about 1 GB of disk, once"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -r $< $(if $(findstring paddlex,$@),,-e .)
	@touch $@

# The stubs are made with the oldest tools whose output the newest protobuf still reads (a stub of
# major version 6 loads in 6 and 7), in an environment of their own.
proto:  ## make protocol/key_value/*_pb2*.py from the .proto file
	@test -x build/proto-venv/bin/python || $(PYTHON) -m venv build/proto-venv
	@build/proto-venv/bin/python -m pip --disable-pip-version-check install --quiet 'grpcio-tools==1.74.0' 'setuptools<81'
	build/proto-venv/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. protocol/key_value/pipeline_service.proto

constraints:  ## resolve setup.cfg's ranges into constraints.txt again, then make wheels
	@test -x build/uv-venv/bin/uv || { $(PYTHON) -m venv build/uv-venv && build/uv-venv/bin/python -m pip --disable-pip-version-check install --quiet uv; }
	@{ sed -n '/^#/p' constraints.txt; build/uv-venv/bin/uv pip compile setup.cfg --extra cpu --extra dev --extra export --extra onnx --extra openvino --extra tracing --extra train \
	  --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet; } > build/constraints.txt
	@mv build/constraints.txt constraints.txt
	@$(MAKE) --no-print-directory wheels

# paddle2onnx holds onnx back below Python 3.13 (constraints.txt); the image is without it.
wheels:  ## list the images' wheels with their hashes, in the versions of constraints.txt
	@test -x build/uv-venv/bin/uv || { $(PYTHON) -m venv build/uv-venv && build/uv-venv/bin/python -m pip --disable-pip-version-check install --quiet uv; }
	@sed -E -e "/^onnx==.* < '3.13'/d" -e 's/^((onnx|ml-dtypes)==[^ ]*) ;.*/\1/' constraints.txt > build/wheels-constraints.txt
	@{ sed -n '/^#/p' requirements/image.txt; build/uv-venv/bin/uv pip compile setup.cfg --extra cpu --extra onnx -c build/wheels-constraints.txt \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet; } > build/image.txt
	@mv build/image.txt requirements/image.txt
	@{ sed -n '/^#/p' requirements/image-fast.txt; echo setuptools | build/uv-venv/bin/uv pip compile setup.cfg - --extra onnx --extra openvino -c build/wheels-constraints.txt \
	  --no-emit-package onnx --no-emit-package ml-dtypes \
	  --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet; } > build/image-fast.txt
	@mv build/image-fast.txt requirements/image-fast.txt

audit: setup-dev  ## whether a pinned version has a published vulnerability: pip-audit, or ADVISORY_DATABASE=FOLDER without a network
ifdef ADVISORY_DATABASE
	@$(BIN)/python -m reliability.audit --database "$(ADVISORY_DATABASE)"
else
	@test -x build/audit-venv/bin/pip-audit || { $(PYTHON) -m venv build/audit-venv && build/audit-venv/bin/python -m pip --disable-pip-version-check install --quiet --timeout 10 --retries 1 pip-audit; } || true
	@$(BIN)/python -m reliability.audit --pip-audit build/audit-venv/bin/pip-audit
endif

# Every package without its requirements: those of 0.9.0 cannot be met any more. What pip would warn
# about (-qq) is just that. Importing the official server makes a folder of logs, so it gets one.
paddle-serving-env: $(PADDLE_SERVING_ENV)/.complete  ## the official Paddle Serving 0.9, for those who stay on it
$(PADDLE_SERVING_ENV)/.complete: requirements/paddle-serving-0.9.txt requirements/paddle-serving-0.9-packages.txt
	@test -n "$(PADDLE_SERVING_BASE)" || { echo "error: Paddle Serving 0.9 needs Python 3.8 or 3.9 and none was found; install one (pyenv install 3.8) or give PADDLE_SERVING_BASE=/path/to/python3.8" >&2; exit 1; }
	@echo "==> making $(PADDLE_SERVING_ENV) with $$($(PADDLE_SERVING_BASE) --version); about 1 GB of disk, once"
	@$(PADDLE_SERVING_BASE) -m venv --clear $(PADDLE_SERVING_ENV)
	@$(PADDLE_SERVING_ENV)/bin/python -m pip --disable-pip-version-check install -qq --no-deps \
	  $(foreach file,$^,-r $(file))
	@SERVING_LOG_PATH=$(PADDLE_SERVING_ENV) $(PADDLE_SERVING_ENV)/bin/python -c \
	  'import requests, paddle_serving_client, paddle_serving_server.web_service, paddle_serving_app.reader, paddle_serving_app.local_predict' \
	  || { echo "error: the official packages were installed and cannot be imported" >&2; exit 1; }
	@touch $@
	@echo "==> ready: $(PADDLE_SERVING_ENV)/bin/python pipeline/hosts/paddle_serving --config FILE"

# Without requirements, as requirements/paddleclas.txt says.
paddleclas-env: $(PADDLECLAS_ENV)/.complete $(PADDLECLAS_26_ENV)/.complete  ## PaddleClas, to export its networks with
	@:
$(PADDLECLAS_ENV)/.complete: PADDLE_VERSION = 3.3.1
$(PADDLECLAS_26_ENV)/.complete: PADDLE_VERSION = 2.6.2
$(PADDLECLAS_ENV)/.complete $(PADDLECLAS_26_ENV)/.complete: requirements/paddleclas.txt
	@test -n "$(PADDLECLAS_BASE)" || { echo "error: exporting with PaddleClas needs Python 3.9 to 3.12 and none was found; install one or give PADDLECLAS_BASE=/path/to/python3.11" >&2; exit 1; }
	@echo "==> making $(@D) with $$($(PADDLECLAS_BASE) --version) and Paddle $(PADDLE_VERSION); about 1 GB of disk, once"
	@$(PADDLECLAS_BASE) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install -qq --no-deps paddlepaddle==$(PADDLE_VERSION) -r $<
	@touch $@

# Its training configurations are in no package; tests count what comes of each file of this commit.
PADDLECLAS_SOURCE ?= build/paddleclas-source
PADDLECLAS_COMMIT := d178931fca432204e6b7422bac4f92e09ff22fa4
paddleclas-source: $(PADDLECLAS_SOURCE)/.complete  ## PaddleClas' sources, for tests that read its configurations
	@:
$(PADDLECLAS_SOURCE)/.complete:
	@echo "==> fetching PaddleClas $(PADDLECLAS_COMMIT) into $(@D)"
	@rm -rf $(@D) && git init -q $(@D)
	@git -C $(@D) remote add origin https://github.com/PaddlePaddle/PaddleClas
	@git -C $(@D) fetch -q --depth 1 --filter=blob:none origin $(PADDLECLAS_COMMIT)
	@git -C $(@D) sparse-checkout set ppcls deploy/configs deploy/python
	@git -C $(@D) checkout -q FETCH_HEAD
	@touch $@

PADDLEDETECTION_SOURCE ?= build/paddledetection-source
PADDLEDETECTION_COMMIT := 666f597fd00d3157e84dd9fb2dd3f40bf9918ebc
paddledetection-source: $(PADDLEDETECTION_SOURCE)/.complete  ## PaddleDetection's deployment, to compare its operators with
	@:
$(PADDLEDETECTION_SOURCE)/.complete:
	@echo "==> fetching PaddleDetection $(PADDLEDETECTION_COMMIT) into $(@D)"
	@rm -rf $(@D) && git init -q $(@D)
	@git -C $(@D) remote add origin https://github.com/PaddlePaddle/PaddleDetection
	@git -C $(@D) fetch -q --depth 1 --filter=blob:none origin $(PADDLEDETECTION_COMMIT)
	@git -C $(@D) sparse-checkout set deploy/python
	@git -C $(@D) checkout -q FETCH_HEAD
	@touch $@

# PyTorch's build without CUDA is a tenth of the size; it is not on PyPI. FRAMEWORKS_INDEX=URL names
# an index that has it.
frameworks-env: $(FRAMEWORKS_ENV)/.complete  ## torchvision, timm, transformers, Ultralytics, Keras: to compare preprocessing with
	@:
$(FRAMEWORKS_ENV)/.complete: requirements/frameworks.txt
	@test -n "$(FRAMEWORKS_BASE)" || { echo "error: the frameworks need Python 3.11 to 3.13 and none was found; install one or give FRAMEWORKS_BASE=/path/to/python3.11" >&2; exit 1; }
	@echo "==> making $(@D) with $$($(FRAMEWORKS_BASE) --version); about 8 GB of disk, once"
	@$(FRAMEWORKS_BASE) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check install --quiet \
	  $(if $(FRAMEWORKS_INDEX),--extra-index-url $(FRAMEWORKS_INDEX)) -r $<
	@touch $@

# Paddle 2.6 is needed for .pdmodel alone.
ONLY_PIR := $(and $(filter --forms,$(ARGS)),$(if $(filter pdmodel,$(ARGS)),,yes))
deployments: setup-dev $(if $(ONLY_PIR),$(PADDLECLAS_ENV)/.complete,paddleclas-env)  ## export, convert, serve and compare the five deployments (ARGS="--measure" measures them)
	@$(BIN)/python -m examples.deployments $(ARGS)

soak: setup-dev  ## minutes of load, faults and bad input; every answer is judged (ARGS="--minutes 1")
	@$(BIN)/python -m reliability.soak $(ARGS)

attack: setup-dev  ## minutes of attacks on a service of this machine, each judged (ARGS="--only pipelining", ARGS=--list)
	@$(BIN)/python -m reliability.attack $(ARGS)

faults: setup-dev  ## faults on this service and, after make paddle-serving-env, on Paddle Serving 0.9
	@$(BIN)/python -m reliability.faults $(ARGS)

FUZZ_SECONDS ?= 30
fuzz: setup-dev  ## look for bytes that break what reads from outside (FUZZ_SECONDS=30 for each target)
	@$(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(ARGS)

image:  ## build the container image paddle-serving-kit:cpu (TARGET=cpu-fast: without Paddle)
	docker build --target $(or $(TARGET),cpu) -t paddle-serving-kit:$(or $(TARGET),cpu) .

clean:  ## remove .venv, build and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
