# Every command that a person types; `make` prints them. The code of a command is in the package that it calls.
#
#   MODEL=name      one model, or several in quotes; without it, the three starter models
#   DATA=folder     the data to train on
#   VERSION=2.0     the version of an archive; without it, the newest one in model_store/, or 1.0
#   GOAL=...        the goal of `make tune`: throughput, latency, or a bound such as "p99<50ms"
#   NAME=name       the name of a new model, TASK=task its kind: train/tasks.yaml lists the kinds
#   FROM=model.pth  a model that you have, for `make import`; LABELS=, TRY= and EXPECT= are files: docs/import.md
#   ENGINE=ray      status, predict, explain, evaluate, deploy, undeploy, promote, rollback and scale act on the cluster
#   EXTRAS="..."    what `make setup` also installs: onnxruntime, openvino, ncnn, transformers, timm, graphs, media, shap, ray, torchtext, clients
#   BASE=torchtext  train with torchtext, in its own environment
#   ARGS="..."      goes to the command behind the target; ARGS=--help prints its options

MODEL   ?= digits sounds intents
VENV    ?= .venv
PYTHON  := $(VENV)/bin/python
# torchtext runs only with torch 2.3, so it has an environment of its own, and Python versions that torch 2.3 runs on.
TORCHTEXT := .venv-torchtext
# The clients of other projects with which the protocols are tested need older packages than the rest.
CLIENTS := .venv-clients
APART   := torchtext clients
ifneq ($(filter-out torchtext,$(BASE)),)
$(error BASE=$(BASE): give BASE=torchtext, or leave it out)
endif
CODE    := $(wildcard handlers/*.py handlers/*/*.py model_defs/*.py archive/*.py archive/*/*.py)
# Which server the verbs act on: `serving/` and `cluster/` have commands of the same names.
ENGINE  ?= torchserve
SERVER  := $(or $(if $(filter torchserve,$(ENGINE)),serving),$(if $(filter ray,$(ENGINE)),cluster),$(error ENGINE=$(ENGINE): give torchserve or ray))
PEERS   ?= $(basename $(notdir $(wildcard bench/requirements/*.txt)))
# Each lock that is not a role's is an extra's. `make lock EXTRAS=name` makes the first one of a new extra.
LOCKED  := $(filter-out serve train bench dev $(APART),$(basename $(notdir $(wildcard requirements/*.txt))))
MAKEFLAGS += --no-builtin-rules
# A model's archive. An older version is never built again: it is what a rollback brings back.
# `sort -V` puts a `~` before everything, so 1.0.0~-rc1 comes before 1.0.0. Only what model_defs/bundle_format.py calls a version counts:
# `digits-2-1.0.mar` is not an archive of `digits`.
version := [0-9]+(\.[0-9]+)*([-.]?[A-Za-z][A-Za-z0-9.]*)?(\+[A-Za-z0-9.]+)?
newest  = $(shell ls model_store/ 2>/dev/null | sed -nE 's/^$(1)-($(version))\.mar$$/\1/p' | sed -E 's/[-.]?[A-Za-z]/~&/' | sort -V | tail -n 1 | tr -d '~')
archive = model_store/$(1)-$(or $(VERSION),$(call newest,$(1)),1.0).mar
# The code that an archive holds, as its last build listed it. Without that list it depends on all code.
listed  = $(patsubst model_store/%.mar,model_store/.deps/%.d,$(call archive,$(1)))
unexport PYTHONPATH PYTHONHOME
# OpenMP's threads spin while they wait: next to another program on the same cores, a training took ten times as long.
export OMP_WAIT_POLICY ?= PASSIVE
# Else onnxruntime writes a device id into the home folder when it is imported, and queues telemetry.
export ORT_DISABLE_TELEMETRY ?= 1

# Which variables each target reads. Any other one on the command line is a mistake, and make says so.
reads := setup:EXTRAS new:NAME,TASK import:NAME,FROM,LABELS,TRY,EXPECT,ARGS artifacts:MODEL train:MODEL,DATA,BASE,ARGS archive:MODEL,VERSION \
  serve:MODEL,VERSION,ARGS stop:ARGS predict:ENGINE,MODEL,VERSION,ARGS explain:ENGINE,MODEL,VERSION,ARGS explain-check:MODEL,ARGS evaluate:ENGINE,MODEL,VERSION,ARGS \
  describe:MODEL,VERSION,ARGS openapi:ARGS \
  deploy:ENGINE,MODEL,VERSION,ARGS undeploy:ENGINE,MODEL,VERSION,ARGS promote:ENGINE,MODEL,VERSION,ARGS scale:ENGINE,MODEL,VERSION,ARGS \
  status:ENGINE,ARGS rollback:ENGINE,MODEL,ARGS register:MODEL,VERSION,ARGS unregister:MODEL,VERSION,ARGS \
  cluster-start:MODEL,VERSION,ARGS cluster-stop:ARGS rayservice:MODEL,VERSION,ARGS \
  verify:ARGS rotate-tokens:ARGS tune:MODEL,GOAL,ARGS bench:ARGS bench-peers:ARGS test:ARGS test-fast:ARGS test-slow:ARGS \
  test-all:ARGS test-torchtext:ARGS chaos:ARGS faults:ARGS soak:ARGS coverage:ARGS lint: fix: lock:EXTRAS clean: help: docs:
comma := ,
goals := $(or $(MAKECMDGOALS),help)
are_known := $(if $(filter-out $(foreach target,$(reads),$(firstword $(subst :, ,$(target)))),$(goals)),,yes)
read  := VENV PEERS $(subst $(comma), ,$(foreach goal,$(goals),$(patsubst $(goal):%,%,$(filter $(goal):%,$(reads)))))
# Of names with a dash in front, only those that make sets for itself: after `--`, `--trainer.max_epochs=3` is a variable, too.
given := $(foreach name,$(filter-out -*-%,$(.VARIABLES)),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
unread := $(if $(and $(are_known),$(filter 0,$(MAKELEVEL))),$(filter-out $(read) MAKEFLAGS,$(given)))
ifneq ($(unread),)
$(error make $(goals) reads no $(firstword $(unread)); it reads $(or $(filter-out VENV PEERS,$(sort $(read))),no variables))
endif

# An empty value is most often a shell's variable that is not set. Only the server and a node of a cluster start without a model.
no_model := $(if $(filter-out serve cluster-start,$(goals)),,MODEL)
can_be_empty := ARGS MAKEFLAGS $(no_model)
empty := $(strip $(foreach name,$(filter-out $(can_be_empty),$(given)),$(if $(strip $(value $(name))),,$(name))))
ifneq ($(empty),)
$(error $(firstword $(empty))= is empty; give it a value, or leave it out)
endif

no_extra := $(if $(filter setup,$(goals)),$(filter-out $(LOCKED) serve train bench dev $(APART),$(EXTRAS)))
ifneq ($(no_extra),)
$(error EXTRAS=$(EXTRAS): no extra $(firstword $(no_extra)); there are $(sort $(LOCKED) $(APART)))
endif

# The recipes get these through the environment, so that a path may hold spaces, quotes and dollar signs.
VERBATIM := DATA NAME TASK FROM LABELS TRY EXPECT GOAL
$(foreach name,$(VERBATIM),$(if $(value $(name)),$(eval override $(name) := $$(value $(name)))$(eval export $(name))))

.DEFAULT_GOAL := help
.PHONY: help docs setup new import artifacts train archive serve stop status predict explain explain-check evaluate describe openapi register unregister deploy undeploy promote rollback scale cluster-start cluster-stop rayservice verify rotate-tokens tune bench bench-peers test test-fast test-slow test-all test-torchtext coverage chaos faults soak lint fix lock clean FORCE

help: ## print this list
	@awk -f docs/targets.awk Makefile

docs: ## write this list to docs/targets.md
	@awk -v markdown=1 -f docs/targets.awk Makefile > docs/targets.md

# --- the server and its models

setup: $(VENV)/.train $(patsubst %,$(VENV)/.%,$(filter-out $(APART),$(EXTRAS))) $(foreach name,$(filter $(APART),$(EXTRAS)),.venv-$(name)/.$(name))
setup: ## make .venv and install everything into it from the hashed locks; EXTRAS="onnxruntime openvino ncnn transformers timm graphs media shap ray torchtext clients"

artifacts: $(MODEL:%=artifacts/%/model.json)

new: $(VENV)/.train ## write a config and a recipe for a model of your own: NAME=flowers TASK=image-classification
	@$(PYTHON) -m train.template "$$NAME" "$$TASK"

import: $(VENV)/.train ## make a model that you have into an artifact: NAME=pets FROM=model.pth LABELS=classes.txt TRY=photos/ EXPECT=answers.json; alone it lists the kinds
	@$(PYTHON) -m importers "$$NAME" "$$FROM" --labels "$$LABELS" --try "$$TRY" --expect "$$EXPECT" $(ARGS)

train: $(MODEL:%=artifacts/%/model.json) ## train what train/configs/<MODEL>.yaml says -> artifacts/<MODEL>/; DATA=folder, ARGS="--trainer.max_epochs=3", BASE=torchtext
train: TRAIN = $(if $(DATA),--data.root="$$DATA") $(ARGS)

archive: $(foreach model,$(MODEL),$(call archive,$(model))) ## package artifacts/<MODEL>/ with archive/recipes/<MODEL>.yaml -> model_store/<MODEL>-<VERSION>.mar

serve: archive ## start TorchServe with MODEL, send each model one real input, leave the server running; or stay in front: ARGS=--foreground
	@$(PYTHON) -m serving start $(MODEL) $(VERSION:%=--version %) $(ARGS)

stop: $(VENV)/.train ## stop the server after it has answered all requests that it holds
	@$(PYTHON) -m serving stop $(ARGS)

status: $(VENV)/.train ## print the models, versions, workers and queues of the running server; or of the cluster: ENGINE=ray
	@$(PYTHON) -m $(SERVER) status $(ARGS)

predict: $(VENV)/.train ## send MODEL a sample; or a file: ARGS=file; or a text: ARGS="'a text'"
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) predict $$model $(VERSION:%=--version %) $(ARGS); done

explain: $(VENV)/.train ## show why MODEL answers a sample as it does, and write the picture; or a file: ARGS="file --method occlusion --target cat"
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) explain $$model $(VERSION:%=--version %) $(ARGS); done

explain-check: artifacts $(VENV)/.train ## measure how faithful each method's explanations of MODEL are, on a part of its test set -> artifacts/<MODEL>/report/
	@set -e; for model in $(MODEL); do $(PYTHON) -m bench.explain_check $$model $(ARGS); done

describe: $(VENV)/.train ## print what MODEL takes and gives, from its archive; needs no server; ARGS=--json
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving describe $$model $(VERSION:%=--version %) $(ARGS); done

openapi: $(VENV)/.train ## write openapi.json: one OpenAPI 3.1 document for all hosted models; ARGS="--output file"
	@$(PYTHON) -m serving openapi $(ARGS)

evaluate: $(VENV)/.train ## send MODEL its whole test set over HTTP and compare each answer with the one from training; ARGS="--protocol v2"
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) evaluate $$model $(VERSION:%=--version %) $(ARGS); done

register: archive ## host MODEL on the running server
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving register $$model $(VERSION:%=--version %) $(ARGS); done

unregister: $(VENV)/.train ## remove MODEL from the running server
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving unregister $$model $(VERSION:%=--version %) $(ARGS); done

promote: archive ## host MODEL's VERSION, check its samples, make it the one that answers, end the one before it
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) promote $$model $(VERSION:%=--version %) $(ARGS); done

rollback: $(VENV)/.train ## bring back the version before MODEL's last promotion
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) rollback $$model $(ARGS); done

scale: $(VENV)/.train ## change MODEL's number of workers: ARGS="--workers 2"
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) scale $$model $(VERSION:%=--version %) $(ARGS); done

deploy: archive ## host MODEL on the running server, or on the cluster: ENGINE=ray
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) $(if $(filter ray,$(ENGINE)),deploy,register) $$model $(VERSION:%=--version %) $(ARGS); done

undeploy: $(VENV)/.train ## remove MODEL from the running server, or from the cluster: ENGINE=ray
	@set -e; for model in $(MODEL); do $(PYTHON) -m $(SERVER) $(if $(filter ray,$(ENGINE)),undeploy,unregister) $$model $(VERSION:%=--version %) $(ARGS); done

verify: $(VENV)/.train ## check every archive of model_store/, or one: ARGS=file; needs no server
	@$(PYTHON) -m serving verify $(ARGS)

rotate-tokens: $(VENV)/.train ## make new tokens on the running server; the old ones stop working at once
	@$(PYTHON) -m serving rotate-tokens $(ARGS)

# --- several machines

cluster-start: archive $(VENV)/.ray ## start Ray on this machine and deploy MODEL; or join a cluster: ARGS="--join HOST:6380" MODEL=
	@$(PYTHON) -m cluster start $(MODEL) $(VERSION:%=--version %) $(ARGS)

cluster-stop: $(VENV)/.train ## end the Ray processes that make cluster-start has started here
	@$(PYTHON) -m cluster stop $(ARGS)

rayservice: archive ## print the manifests of a KubeRay RayService with MODEL, for kubectl apply -f -
	@$(PYTHON) -m cluster rayservice $(MODEL) $(VERSION:%=--version %) $(ARGS)

# --- how fast

tune: artifacts $(VENV)/.bench ## find the fastest recipe for MODEL on this machine, write it, rebuild the archive; GOAL="p99<50ms"
	@set -e; for model in $(MODEL); do $(PYTHON) -m bench.tune $$model $(if $(GOAL),--goal "$$GOAL") $(ARGS); $(MAKE) --no-print-directory archive MODEL=$$model; done

bench bench-peers: MODEL = resnet18 sounds intents
bench: $(VENV)/.bench ## measure the bundle and TorchServe's stock handlers: pictures, sounds, texts; ARGS="vision --rounds 5"
	@$(MAKE) --no-print-directory artifacts MODEL="$(MODEL)"
	@$(PYTHON) -m bench $(ARGS)

bench-peers: $(VENV)/.bench $(PEERS:%=.venv-bench/%/.installed) ## also measure Triton, BentoML, MLServer, LitServe, Ray Serve, mosec and FastAPI, each in its own environment
	@$(MAKE) --no-print-directory artifacts MODEL="$(MODEL)"
	@$(PYTHON) -m bench $(ARGS) --peers $(PEERS)

# --- working on the project

# These tests run with forked workers in `make test`, and with workers that start alone in `make test-slow`.
BOTH_WAYS = tests/end_to_end/test_isolation.py tests/end_to_end/test_operation.py tests/serving/test_guard.py

# A process of pytest-xdist's that dies is not replaced: after that it may wait for ever.
IN_TWO = $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

test: $(VENV)/.dev ## run the tests in two processes, with real servers on free ports; ARGS="-k text"
	@$(IN_TWO) -m "not slow" $(ARGS)

test-fast: $(VENV)/.dev ## run the tests that start no server
	@$(IN_TWO) -m "not slow and not server" tests/*.py tests/model_defs tests/handlers tests/archive tests/importers tests/train/data $(ARGS)

# The faults and the cluster need both cores, so they run in one process, after the others.
test-slow: $(VENV)/.dev $(VENV)/.ray $(CLIENTS)/.clients ## run what make test leaves out: faults, compiled networks, tuning, each kind of model over HTTP
	@$(IN_TWO) -m slow --ignore=tests/faults --ignore=tests/cluster $(ARGS)
	@$(PYTHON) -m pytest -m slow tests/faults tests/cluster $(ARGS)
	@$(IN_TWO) --fork-workers=false $(BOTH_WAYS) $(ARGS)

test-all: test test-torchtext test-slow ## run all tests; it takes about half an hour

# Without tests/conftest.py, whose imports this environment does not have.
test-torchtext: $(TORCHTEXT)/.torchtext ## compare the bundle's text code with torchtext's, in torchtext's environment
	@$(TORCHTEXT)/bin/python -m pytest tests/torchtext --confcutdir=tests/torchtext $(ARGS)

chaos: $(VENV)/.dev ## send a server 10,000 requests, one in five of them bad, and print what came back; ARGS="--requests=1000"
	@$(PYTHON) -m pytest tests/faults/test_chaos.py --requests=10000 $(ARGS)

faults: $(VENV)/.dev ## kill, stop, starve, overload and change a server under load, 10 times each, and print what was lost; ARGS="--trials=2"
	@$(PYTHON) -m pytest tests/faults --ignore=tests/faults/test_chaos.py --ignore=tests/faults/test_soak.py --trials=10 $(ARGS)

soak: $(VENV)/.dev ## send a server 80,000 requests and print what its processes hold at the start, middle and end
	@$(PYTHON) -m pytest tests/faults/test_soak.py --requests=80000 $(ARGS)

coverage: $(VENV)/.dev ## run make test's tests in one process and print which lines they reach
	@$(PYTHON) -m pytest -m "not slow" --cov --cov-report=term-missing:skip-covered $(ARGS)

lint: $(VENV)/.dev ## find mistakes, wrong types, spelling and format errors
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
	@$(PYTHON) -m codespell_lib

fix: $(VENV)/.dev ## repair what lint can repair by itself
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

# Extras stay in the locks: to the pip of Python 3.11, a pinned `ray` does not pin `ray[serve]`.
# torchtext has no wheel for Linux on ARM, so its lock is for x86_64 Linux alone.
COMPILE = uv pip compile --quiet --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate --no-emit-index-url
lock: ## compile pyproject.toml's dependencies into the hashed requirements/*.txt; needs uv
	@for group in serve train bench dev; do $(COMPILE) --universal --group pyproject.toml:$$group -o requirements/$$group.txt; done
	@for extra in $(sort $(LOCKED) $(filter-out $(APART),$(EXTRAS))); do $(COMPILE) --universal --group pyproject.toml:$$extra -c requirements/train.txt -o requirements/$$extra.txt; done
	@$(COMPILE) --python-platform x86_64-manylinux_2_28 --group pyproject.toml:torchtext -o requirements/torchtext.txt
	@$(COMPILE) --universal --group pyproject.toml:clients -o requirements/clients.txt
	@for peer in $(filter-out pytriton,$(PEERS)); do $(COMPILE) --universal --group pyproject.toml:bench-$$peer -c requirements/serve.txt -o bench/requirements/$$peer.txt; done
	@for peer in $(filter pytriton,$(PEERS)); do $(COMPILE) --universal --group pyproject.toml:bench-$$peer -o bench/requirements/$$peer.txt; done

clean: ## stop the server; remove archives, logs and caches (artifacts/ and .venv stay)
	@if [ -d .torchserve ]; then $(PYTHON) -m serving stop; fi
	rm -rf model_store .torchserve runs .pytest_cache .ruff_cache .mypy_cache .coverage

# --- files

$(VENV)/.%: requirements/%.txt
	@requirements/install.sh $(VENV) $<
	@touch $@

$(TORCHTEXT)/.torchtext: requirements/torchtext.txt
	@requirements/install.sh $(TORCHTEXT) $< 3.11 3.12
	@touch $@

$(CLIENTS)/.clients: requirements/clients.txt
	@requirements/install.sh $(CLIENTS) $<
	@touch $@

# A peer's environment also sees the packages of .venv, such as torch. It is made again when its lock has changed.
.venv-bench/%/.installed: bench/requirements/%.txt | $(VENV)/.train
	@bench/requirements/install.sh $(VENV) $(@D) $<
	@touch $@

# `make train` trains again when the config has changed, and always with DATA, ARGS or BASE. Any other target trains only a model that
# has no artifact; else it says that the config is newer.
artifacts/%/model.json: train/configs/%.yaml $(if $(filter train,$(MAKECMDGOALS)),$(if $(DATA)$(ARGS)$(BASE),FORCE)) | $(if $(BASE),$(TORCHTEXT)/.torchtext,$(VENV)/.train)
	@$(if $(BASE),$(TORCHTEXT)/bin/python,$(PYTHON)) -m train $* $(if $(filter train,$(MAKECMDGOALS)),$(TRAIN),--if-missing)

# An imported model has no config: its artifact is there, or `make import` makes it.
imported = $(and $(wildcard artifacts/$(1)/model.json),$(if $(wildcard train/configs/$(1).yaml),,yes))

define packaging
$(if $(call imported,$(1)),artifacts/$(1)/model.json: ;)
-include $(call listed,$(1))
$(call archive,$(1)): artifacts/$(1)/model.json archive/recipes/$(1).yaml archive/recipes/default.yaml $(if $(wildcard $(call listed,$(1))),,$(CODE)) | $(VENV)/.train
	@$(PYTHON) -m archive $(1) --version $$(patsubst model_store/$(1)-%.mar,%,$$@)
endef
$(foreach model,$(MODEL),$(eval $(call packaging,$(model))))

train/configs/%.yaml:
	@echo "error: no $@; there are: $(basename $(notdir $(wildcard train/configs/*.yaml))); a model that you have: make import NAME=$* FROM=model.pth" >&2; exit 1

archive/recipes/%.yaml:
	@echo "error: no $@; there are: $(filter-out default,$(basename $(notdir $(wildcard archive/recipes/*.yaml))))" >&2; exit 1

.PRECIOUS: artifacts/%/model.json $(VENV)/.% $(TORCHTEXT)/.torchtext $(CLIENTS)/.clients .venv-bench/%/.installed
