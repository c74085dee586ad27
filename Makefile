# Every verb that a person types; `make` prints them. What a verb does stands in the package that it calls.
#
#   MODEL=name      one model, or several in quotes; without it, the three starter models
#   DATA=folder     where a training's data lies
#   VERSION=2.0     of an archive; without it the newest that model_store/ has, or 1.0
#   GOAL=...        what `make tune` is after: throughput, latency, or a bound such as "p99<50ms"
#   NAME=name       of the model that `make new` makes, TASK=task its kind: train/tasks.yaml lists them
#   EXTRAS="..."    what `make setup` installs besides: onnxruntime, openvino, ncnn, transformers, graphs
#   ARGS="..."      goes to the command behind the target; ARGS=--help says what that takes

MODEL   ?= digits sounds intents
VENV    ?= .venv
PYTHON  := $(VENV)/bin/python
CODE    := $(wildcard handlers/*.py handlers/*/*.py model_defs/*.py archive/*.py archive/*/*.py)
PEERS   ?= $(basename $(notdir $(wildcard bench/requirements/*.txt)))
MAKEFLAGS += --no-builtin-rules
# A model's archive. An older version is never built again: it is what a rollback brings back.
newest  = $(patsubst model_store/$(1)-%.mar,%,$(lastword $(shell ls model_store/$(1)-[0-9]*.mar 2>/dev/null | sort -V)))
archive = model_store/$(1)-$(or $(VERSION),$(call newest,$(1)),1.0).mar
# The code that an archive holds, as its last build listed it. Without that list it depends on all code.
listed  = $(patsubst model_store/%.mar,model_store/.deps/%.d,$(call archive,$(1)))
unexport PYTHONPATH PYTHONHOME
# OpenMP's threads spin while they wait: beside another program on the same cores, a training took ten times as long.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup new artifacts train archive serve stop status predict explain evaluate register unregister promote rollback scale verify rotate-tokens tune bench bench-peers test chaos faults soak lint fix lock clean FORCE

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1m%-13s\033[0m %s\n", $$1, $$2 }' Makefile
	@sed -n 's/^#   \([A-Z]*=.*\)/  \1/p' Makefile

# --- the server and its models

setup: $(VENV)/.train $(EXTRAS:%=$(VENV)/.%) ## make .venv and install everything into it from the hashed locks; EXTRAS="onnxruntime openvino ncnn transformers graphs"

artifacts: $(MODEL:%=artifacts/%/model.json)

new: $(VENV)/.train ## write a config and a recipe to begin a model of your own with: NAME=flowers TASK=image-classification
	@$(PYTHON) -m train.template "$$NAME" "$$TASK"

train: $(MODEL:%=artifacts/%/model.json) ## train what train/configs/<MODEL>.yaml says -> artifacts/<MODEL>/; DATA=folder, ARGS="--trainer.max_epochs=3"
train: TRAIN = $(if $(DATA),--data.root='$(abspath $(DATA))') $(ARGS)

archive: $(foreach model,$(MODEL),$(call archive,$(model))) ## package artifacts/<MODEL>/ with archive/recipes/<MODEL>.yaml -> model_store/<MODEL>-<VERSION>.mar

serve: archive ## start TorchServe with MODEL, send each one real input, leave the server running
	@$(PYTHON) -m serving start $(MODEL) $(ARGS)

stop: $(VENV)/.train ## let the server finish what it has taken in, then stop it
	@$(PYTHON) -m serving stop $(ARGS)

status: $(VENV)/.train ## print the models, versions, workers and queues of the running server
	@$(PYTHON) -m serving status $(ARGS)

predict: $(VENV)/.train ## send MODEL a sample, or ARGS=file, or ARGS="'a text'"
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving predict $$model $(ARGS); done

explain: $(VENV)/.train ## ask MODEL why it answers a sample, or ARGS=file, as it does
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving explain $$model $(ARGS); done

evaluate: $(VENV)/.train ## send MODEL its whole test set over HTTP and compare each answer with the one found in training
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving evaluate $$model $(ARGS); done

register: archive ## let the running server host MODEL
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving register $$model $(VERSION:%=--version %) $(ARGS); done

unregister: $(VENV)/.train ## take MODEL from the running server
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving unregister $$model $(ARGS); done

promote: archive ## host MODEL's VERSION and, once it answers its samples as in training, let it answer for the model; end the one before it
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving promote $$model $(VERSION:%=--version %) $(ARGS); done

rollback: $(VENV)/.train ## let the version before MODEL's last promotion answer again
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving rollback $$model $(ARGS); done

scale: $(VENV)/.train ## change MODEL's number of workers: ARGS="--workers 2"
	@set -e; for model in $(MODEL); do $(PYTHON) -m serving scale $$model $(ARGS); done

verify: $(VENV)/.train ## check every archive of model_store/, or ARGS=file: the one that was built, nothing harmful in it, its papers right
	@$(PYTHON) -m serving verify $(ARGS)

rotate-tokens: $(VENV)/.train ## let the running server make new tokens, and refuse the old ones from then on
	@$(PYTHON) -m serving rotate-tokens $(ARGS)

# --- how fast

tune: artifacts $(VENV)/.bench ## find the fastest recipe for MODEL on this machine, write it, rebuild the archive; GOAL="p99<50ms"
	@set -e; for model in $(MODEL); do $(PYTHON) -m bench.tune $$model $(GOAL:%=--goal "%") $(ARGS); $(MAKE) --no-print-directory archive MODEL=$$model; done

bench bench-peers: MODEL = resnet18 sounds intents
bench: $(VENV)/.bench ## measure the bundle beside TorchServe's stock handlers: pictures, sounds, texts; ARGS="vision --rounds 5"
	@$(MAKE) --no-print-directory artifacts MODEL="$(MODEL)"
	@$(PYTHON) -m bench $(ARGS)

bench-peers: $(VENV)/.bench $(PEERS:%=.venv-bench/%/.installed) ## measure it beside Triton, BentoML, MLServer, LitServe, Ray Serve, mosec and FastAPI too, each in an environment of its own
	@$(MAKE) --no-print-directory artifacts MODEL="$(MODEL)"
	@$(PYTHON) -m bench $(ARGS) --peers $(PEERS)

# --- working on the project

# A process of pytest-xdist's that dies is not replaced: after that it may wait for ever.
test: $(VENV)/.dev ## run all tests in two processes, with servers of their own on free ports; ARGS="-k text"
	@$(PYTHON) -m pytest -n 2 --dist loadfile --max-worker-restart=0 $(ARGS)

chaos: $(VENV)/.dev ## send a server 10,000 requests, one in five of them bad, and print what came back; ARGS="--requests=1000"
	@$(PYTHON) -m pytest tests/faults/test_chaos.py --requests=10000 $(ARGS)

faults: $(VENV)/.dev ## kill, stop, starve, overload and change a server under load, 10 times each, and print what was lost; ARGS="--trials=2"
	@$(PYTHON) -m pytest tests/faults --ignore=tests/faults/test_chaos.py --ignore=tests/faults/test_soak.py --trials=10 $(ARGS)

soak: $(VENV)/.dev ## send a server 20,000 requests and print what its processes hold at the start, middle and end
	@$(PYTHON) -m pytest tests/faults/test_soak.py --requests=20000 $(ARGS)

lint: $(VENV)/.dev ## look for mistakes and for lines out of format
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check

fix: $(VENV)/.dev ## put right what lint can put right by itself
	@$(PYTHON) -m ruff check --fix
	@$(PYTHON) -m ruff format

# torchtext has wheels for one platform that torch 2.3 has, too: its lock is for that one alone.
COMPILE = uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url
lock: ## compile pyproject.toml's dependencies into the hashed requirements/*.txt; needs uv
	@for group in serve train bench dev; do $(COMPILE) --universal --group pyproject.toml:$$group -o requirements/$$group.txt; done
	@for extra in onnxruntime openvino ncnn transformers graphs; do $(COMPILE) --universal --group pyproject.toml:$$extra -c requirements/train.txt -o requirements/$$extra.txt; done
	@$(COMPILE) --python-platform x86_64-manylinux_2_28 --group pyproject.toml:torchtext -o requirements/torchtext.txt
	@for peer in $(PEERS); do $(COMPILE) --universal --group pyproject.toml:bench-$$peer -c requirements/serve.txt -o bench/requirements/$$peer.txt; done

clean: ## stop the server; remove archives, logs and caches (artifacts/ and .venv stay)
	@if [ -d .torchserve ]; then $(PYTHON) -m serving stop; fi
	rm -rf model_store .torchserve runs .pytest_cache .ruff_cache

# --- files

$(VENV)/.%: requirements/%.txt
	@requirements/install.sh $(VENV) $<
	@touch $@

# A peer's environment lies beside ours, whose torch it sees; made anew when its lock has changed.
.venv-bench/%/.installed: bench/requirements/%.txt | $(VENV)/.train
	@bench/requirements/install.sh $(VENV) $(@D) $<
	@touch $@

# Trained anew when its config has changed, and whenever `make train` is told DATA or ARGS.
artifacts/%/model.json: train/configs/%.yaml $(if $(filter train,$(MAKECMDGOALS)),$(if $(DATA)$(ARGS),FORCE)) | $(VENV)/.train
	@$(PYTHON) -m train $* $(TRAIN)

define packaging
-include $(call listed,$(1))
$(call archive,$(1)): artifacts/$(1)/model.json archive/recipes/$(1).yaml archive/recipes/default.yaml $(if $(wildcard $(call listed,$(1))),,$(CODE)) | $(VENV)/.train
	@$(PYTHON) -m archive $(1) --version $$(patsubst model_store/$(1)-%.mar,%,$$@)
endef
$(foreach model,$(MODEL),$(eval $(call packaging,$(model))))

train/configs/%.yaml:
	@echo "error: no $@; there are: $(basename $(notdir $(wildcard train/configs/*.yaml)))" >&2; exit 1

archive/recipes/%.yaml:
	@echo "error: no $@; there are: $(filter-out default,$(basename $(notdir $(wildcard archive/recipes/*.yaml))))" >&2; exit 1

.PRECIOUS: artifacts/%/model.json $(VENV)/.% .venv-bench/%/.installed
