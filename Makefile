# Every target is safe to repeat. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LOCAL  := services/common services/auth services/feed services/voice operator tools/node tools/demo \
          tools/github-stub tools/local tools/monitoring tools/docs tools/release operator/plugin
IMAGES := services/auth services/feed services/voice operator tools/github-stub
# Packages of this workspace never stand in a lock: they are installed from the checkout.
OWN    := $(foreach p,common auth feed voice operator node demo github-stub local monitoring docs release demo-mode,--no-emit-package kotatsu-$(p))
# Every Python keeps its bytecode here, whatever the environment says: a third of a short run's time
# goes into compiling otherwise, and the folders of the sources stay clean.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/python
unexport PYTHONDONTWRITEBYTECODE
# One worker more than cores, since tests also wait.
PYTEST_XDIST_AUTO_NUM_WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
export PYTEST_XDIST_AUTO_NUM_WORKERS
# --no-build: a package without a wheel is named, and nothing of it is run.
LOCK   := --no-build --universal --generate-hashes --no-emit-index-url --no-annotate --no-header $(OWN)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# Debian keeps what venv brings pip with in a package of its own; without it an environment is left half made.
PYTHON_IS_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
NO_PYTHON := Kotatsu needs Python 3.11 or newer with venv and pip, and $(PYTHON) is not that: on Debian and Ubuntu \
             `apt-get install python3-venv` brings it, and PYTHON=path names another one.
$(BIN)/uv: requirements-uv.lock
	@$(PYTHON) -c '$(PYTHON_IS_ENOUGH)' 2> /dev/null || { echo '$(NO_PYTHON)' >&2; exit 2; }
	@echo "· making $(VENV) with uv"
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@# Of all programs that walk the checkout none looks in there, with git or without.
	@echo '*' | tee $(VENV)/.gitignore > $(VENV)/.ignore
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

# Scripts find it there too.
export VENV
$(VENV)/.synced: $(BIN)/uv requirements.lock $(addsuffix /pyproject.toml,$(LOCAL))
	@echo "· installing the locked packages"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --no-build requirements.lock
	@# Without isolation: what builds our own packages is in the lock too, hashes and all.
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
	  --no-build-isolation $(addprefix --editable ./,$(LOCAL))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@ $(BIN)/uv && touch $@

.PHONY: venv
venv: mine $(VENV)/.synced ## make .venv with every locked package

# After `sudo make demo`, a part of the checkout is root's.
.PHONY: mine
mine:
	@for made in .cache build $(VENV); do \
	  [ ! -e "$$made" ] || [ -w "$$made" ] || { \
	    echo "error: $$made belongs to another user, as after sudo make: sudo chown -R $$(id -un) $$made" >&2; \
	    exit 2; \
	  }; \
	done

.PHONY: lock
lock: $(BIN)/uv ## resolve again: requirements.lock and one lock per image
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --group dev $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --group pyproject.toml:audit $(LOCK) -o requirements-audit.lock
	$(BIN)/uv pip compile --quiet --upgrade --group pyproject.toml:docs $(LOCK) -o requirements-docs.lock
	$(MAKE) lock-images

.PHONY: lock-images
lock-images: $(BIN)/uv
	for d in $(IMAGES); do \
	  $(BIN)/uv pip compile --quiet $$d/pyproject.toml --all-extras -c requirements.lock $(LOCK) -o $$d/requirements.lock; \
	done
	$(BIN)/uv pip compile --quiet tests/apps/requirements.in -c requirements.lock $(LOCK) -o tests/apps/requirements.lock

.PHONY: format
format: venv ## rewrite the sources in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Requests made from the OpenAPI descriptions are slow, all of them, and what makes them takes a second
# of each process that has it.
# Of the examples of each property it tries a tenth; `make test` tries them all.
FAST := -m "not e2e and not node and not postgres and not slow and not nightly and not soak and not apiserver" \
        -p no:schemathesis --ignore-glob='*_openapi_fuzz.py' --hypothesis-profile=few \
        --ignore=tests/e2e --ignore=tests/apps --ignore=tests/apiserver

.PHONY: check
check: venv ## the fast part: format, lint, spelling, types, contracts, unit tests, chart render
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/typos
	@# The fast tests have one more: on two cores they take 49 s with four or five, 52 with three.
	@# Types and import contracts beside the tests; what is wrong with them is said afterwards. Then the
	@# trap forgets their process: its number may be another one's by the end.
	@said=$$(mktemp); \
	{ $(BIN)/mypy && PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports --no-cache; } > $$said 2>&1 & beside=$$!; \
	trap 'kill $$beside 2> /dev/null || true; rm -f $$said' EXIT; \
	tests=0 types=0; \
	workers=$$((PYTEST_XDIST_AUTO_NUM_WORKERS + 1)); \
	$(BIN)/pytest -q -n $$workers --dist worksteal $(FAST) || tests=$$?; \
	if wait $$beside; then echo "types and import contracts: passed"; else types=$$?; cat $$said; fi; \
	trap 'rm -f $$said' EXIT; \
	code=$$((tests ? tests : types)); \
	[ $$code = 0 ] || $(call not_run,the slow and the end-to-end tests (the fast ones failed)); \
	exit $$code

# Kubernetes, which tests need that have a cluster or an API server of their own.
.PHONY: programs
programs: venv ## build the throwaway node's programs, where this machine can: some minutes, once
	@$(BIN)/kotatsu-node prepare

# What a run leaves out for want of a program, a reason a line; tests/left_out.py says it in one.
LEFT_OUT := .cache/left-out
.PHONY: test
test: export KOTATSU_LEFT_OUT = $(LEFT_OUT)
test: forget check ## run every test that this machine can
	@$(MAKE) --no-print-directory slow
	@trap '$(BIN)/python tests/left_out.py $(LEFT_OUT)' EXIT; tests/e2e/run.sh --if-up

# Never --dist loadfile: the fuzzer's tests share a name, and it would run only one of each.
.PHONY: slow
slow: venv
	@echo "· slow tests, PostgreSQL, a browser, and an API server"
	@$(BIN)/pytest -q -n auto --dist worksteal \
	  -m "(slow or postgres or hypothesis or apiserver) and not e2e and not node and not soak and not nightly" \
	  || { code=$$?; $(call not_run,the end-to-end tests (the slow ones failed)); exit $$code; }

# In `make test`: what follows a failure is not run, and the line about what was left out says so.
not_run = [ -z "$${KOTATSU_LEFT_OUT:-}" ] || $(BIN)/python tests/left_out.py "$$KOTATSU_LEFT_OUT" "$(1)"

.PHONY: forget
forget: mine
	@mkdir -p $(dir $(LEFT_OUT)) && rm -f $(LEFT_OUT)

.PHONY: e2e
e2e: venv ## the end-to-end tests, on the cluster that `make demo` uses; TESTS=file chooses
	tests/e2e/run.sh $(TESTS)

.PHONY: test-all
test-all: venv ## everything: also the nightly tests and the life of the node; an hour
	@$(BIN)/kotatsu-node prepare || { [ $$? = 2 ] && echo "SKIPPED: every test with Kubernetes, for the reason above"; }
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory slow
	$(BIN)/pytest -q -n auto --dist worksteal -m "nightly and not e2e and not node and not soak"
	tests/e2e/run.sh --nightly

# The long forms: of hostile input, the limits and feed's durability, for hours, then of faults, sleeps and upgrades on a real
# cluster, and of windows whose nodes join late. What is done stays in build/soak.jsonl, and the next run goes on from there.
REPEATS ?= 50
CYCLES  ?= 1000
MINUTES ?= 180
ARENAS  ?= 4
SOAK    := tests/e2e/test_transitions.py tests/e2e/test_cycles.py tests/e2e/test_upgrade.py \
           tests/e2e/test_late_windows.py
.PHONY: soak
soak: venv ## hours of hostile input, then MINUTES of faults; prints faults × repetitions × lost
	$(BIN)/pytest -q -s -m "soak and not e2e and not node"
	@mkdir -p build
	KOTATSU_SOAK_REPEATS=$(REPEATS) KOTATSU_SOAK_CYCLES=$(CYCLES) KOTATSU_SOAK_MINUTES=$(MINUTES) \
	  KOTATSU_SOAK_ARENAS=$(ARENAS) \
	  KOTATSU_SOAK_RECORD="$(CURDIR)/build/soak.jsonl" \
	  tests/e2e/run.sh -o log_cli=true --log-cli-level=INFO --log-disable=httpx --log-disable=httpx2 $(SOAK)

# CONTEXT=name takes a cluster of yours; IMAGE_PREFIX says where it pulls the images from.
.PHONY: demo
demo: venv ## install everything on a cluster and watch a pool warm up, speak, sleep and wake
	@$(BIN)/python -m kotatsu_demo show

.PHONY: down
down: venv ## remove what `make demo` made
	@$(BIN)/python -m kotatsu_demo down

.PHONY: images
images: venv ## build the images and load them into the cluster
	@$(BIN)/python -m kotatsu_demo images

.PHONY: local
local: venv ## serve auth, feed and voice in one process on one port, and reload on edit
	@$(BIN)/kotatsu-local

AUDIT := build/audit
$(AUDIT)/.synced: $(BIN)/uv requirements-audit.lock
	@$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(AUDIT)
	@$(BIN)/uv pip sync --quiet --python $(AUDIT)/bin/python --require-hashes --no-build requirements-audit.lock
	@touch $@

.PHONY: sbom
sbom: venv $(AUDIT)/.synced ## write a bill of materials (CycloneDX) of each image and of the workspace to build/sbom
	@$(BIN)/kotatsu-release sbom build/sbom

# Asks PyPI for the advisories of each locked version; where it can't be reached, it says so.
.PHONY: audit
audit: $(AUDIT)/.synced ## look the locked packages up in PyPI's advisories (needs the internet)
	for lock in requirements.lock requirements-audit.lock; do \
	  $(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip -r $$lock; \
	done

.PHONY: monitoring
monitoring: venv ## write the dashboards, which are made from the code
	@$(BIN)/kotatsu-monitoring

.PHONY: pages
pages: venv ## write the pages of docs/reference that are made from chart and code
	@$(BIN)/kotatsu-docs pages

.PHONY: readings
readings: venv ## speak the samples of services/voice/readings.md: one mp3 each in build/readings
	@$(BIN)/kotatsu-docs readings build/readings

# PICTURES="terminal pet" makes only these. Terminal, console and dashboard need a cluster, as `make demo`.
.PHONY: pictures
pictures: venv ## make the pictures of the pages again, from real runs: docs/images
	@$(BIN)/python tools/pictures/make.py $(PICTURES)

SITE := build/site-venv
$(SITE)/.synced: $(BIN)/uv requirements-docs.lock
	@$(BIN)/uv venv --quiet --allow-existing --python $(PYTHON) $(SITE)
	@$(BIN)/uv pip sync --quiet --python $(SITE)/bin/python --require-hashes --no-build requirements-docs.lock
	@touch $@

# Links to files that are no pages lead to SOURCE=address of the repository. Without it there are no such links.
.PHONY: docs
docs: venv $(SITE)/.synced ## make the site of all pages in build/site; a broken link ends it
	@$(BIN)/kotatsu-docs site build/pages --url "$(if $(SOURCE),$(SOURCE)/blob/main)"
	@$(SITE)/bin/zensical build --strict --config-file mkdocs.yml

.PHONY: schema
schema: venv ## write the schema that the kubectl plugin checks manifests with, from the CRD
	@$(BIN)/python operator/plugin/schema.py

# DOWNLOADS=address names the folder that the archive will be downloaded from.
.PHONY: plugin
plugin: venv ## pack the kubectl plugin: one file, and an archive and a manifest for krew, in build/plugin
	@$(BIN)/kotatsu-release plugin build/plugin $(DOWNLOADS_FLAG)
	@echo "· kubectl krew install --manifest=build/plugin/demo-mode.yaml --archive=build/plugin/kubectl-demo_mode.tar.gz"

# PLATFORMS needs Docker with buildx; PLAIN_HTTP=1 is for a registry without TLS that is not on this
# machine. DOWNLOADS=address is written into krew's manifest. SOURCE=address of the repository makes all
# addresses that charts name: home, icon, runbooks and pages.
PLATFORMS_FLAG = $(if $(PLATFORMS),--platforms $(PLATFORMS)) $(if $(PLAIN_HTTP),--plain-http)
DOWNLOADS_FLAG = $(if $(DOWNLOADS),--downloads $(DOWNLOADS))
.PHONY: push
push: venv ## build the images for PLATFORMS, push them to IMAGE_PREFIX=host/path, print the values to use
	@$(BIN)/kotatsu-release push "$(IMAGE_PREFIX)" $(PLATFORMS_FLAG)

.PHONY: release
release: venv $(AUDIT)/.synced ## release VERSION=1.2.3 to REGISTRY=host/path; DRY_RUN=1 pushes nothing
	@$(BIN)/kotatsu-release release "$(VERSION)" "$(REGISTRY)" $(PLATFORMS_FLAG) $(DOWNLOADS_FLAG) \
	  $(if $(SOURCE),--source $(SOURCE)) $(if $(DRY_RUN),--dry-run)

# TOPICS="wake speech" measures only these; BENCH=--quick all of it in some minutes, writing nothing.
# What was measured is in build/benchmarks until PUBLISH=1, which measures nothing, takes it to docs/benchmarks.
.PHONY: bench
bench: venv ## measure everything: one table, also in build/benchmarks; PUBLISH=1 takes it to docs/benchmarks
	@$(BIN)/python bench/run.py $(BENCH) $(if $(PUBLISH),--publish) $(TOPICS)
