# make            set up and run the study of CONFIG to results/report.html
# make test       set up and run the tests        make test-full   the heavy grids too
# make bench      measure speed and memory beside peers and limits (ARGS="--quick", ARGS="--only step/")
# make ui         MLflow on http://127.0.0.1:PORT make doctor      what this environment has
# make notebook   run docs/latent_spaces.ipynb again, after the default study
# make record     add the evaluated runs of CONFIG to docs/results/{experiment}/runs.csv, to be committed
# make clean      remove all results, MLflow's too (never what was fetched or prepared)
#
#   CONFIG=config/mnist.yaml   another study      DATA=folder|download|embedded   another source of the raw data
#   VENV=path                  reuse an environment instead of making .venv       ARGS="-n"   more snakemake arguments

PYTHON ?= python3
CONFIG ?= config/config.yaml
DATA ?=
ARGS ?=
PORT ?= 5000
ifeq ($(strip $(VENV)),)
VENV := .venv
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
KERNEL := $(VENV)/.kernel
else
READY := reused
PEERS :=
KERNEL :=
endif
RUN := "$(VENV)/bin/python"
# This checkout comes first, whatever the environment has installed.
export PYTHONPATH := $(CURDIR):$(CURDIR)/workflow/plugins$(if $(PYTHONPATH),:$(PYTHONPATH))
export PYTHONUNBUFFERED := 1

.PHONY: run setup reused test test-full bench notebook ui doctor record clean
.DEFAULT_GOAL := run

run: $(READY)
	@$(RUN) workflow/drive.py --config "$(CONFIG)" $(if $(DATA),--data "$(DATA)") -- $(ARGS)

setup: $(READY)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] <= (3, 13) else f"mcvae: Python {v[0]}.{v[1]} found; Python 3.11 to 3.13 is needed: make PYTHON=python3.12")'
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { echo "mcvae: no virtual environment could be made; on Debian and Ubuntu install python3-venv"; exit 2; }
	@echo "mcvae: installing the pinned packages into $(VENV) (about 6 GB; some minutes, once)"
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[all,dev]"
	@touch $@

reused:
	@test -x $(RUN) || { echo "mcvae: VENV=$(VENV) has no bin/python; give the folder of a virtual environment"; exit 2; }
	@$(RUN) -m mcvae doctor --quiet

test: $(READY)
	$(RUN) -m pytest -m "not full and not network and not gpu" $(ARGS)

test-full: $(READY)
	$(RUN) -m pytest -m "not network" $(ARGS)

bench: $(READY) $(PEERS)
	@$(RUN) -m mcvae bench $(ARGS)

notebook: $(READY) $(KERNEL)
	@$(RUN) docs/notebook.py

$(VENV)/.peers: EXTRA := bench
$(VENV)/.kernel: EXTRA := notebook
$(VENV)/.peers $(VENV)/.kernel: $(VENV)/.ready
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRA)]"
	@touch $@

ui: $(READY)
	@$(RUN) -m mcvae ui --port $(PORT)

doctor: $(READY)
	@$(RUN) -m mcvae doctor

record: $(READY)
	@$(RUN) -m mcvae record --config "$(CONFIG)" $(if $(DATA),--data "$(DATA)")

clean:
	@test ! -e results/.owner || { echo "mcvae: a study is being made here (results/.owner); end it first"; exit 2; }
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	rm -rf logs .snakemake
