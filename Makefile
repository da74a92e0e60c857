# make            set up and run the study of CONFIG to results/report.html
# make test       set up and run the tests        make test-full   the heavy grids too
# make ui         MLflow on http://127.0.0.1:PORT make doctor      what this environment has
# make bench      benchmarks                      make clean       remove what was made (never what was fetched)
#
#   CONFIG=config/mnist.yaml   another study      DATA=folder|download|embedded   another source of the raw data
#   VENV=path                  reuse an environment instead of making .venv       ARGS="-n"   more snakemake arguments

PYTHON ?= python3
CONFIG ?= config/config.yaml
DATA ?=
ARGS ?=
PORT ?= 5000
EXTRAS := data,chem,plots,tracking,workflow,dev

ifeq ($(origin VENV),undefined)
VENV := .venv
READY := $(VENV)/.ready
else
READY := reused
endif
RUN := $(VENV)/bin/python
# This checkout comes first, whatever the environment has installed.
export PYTHONPATH := $(CURDIR):$(CURDIR)/workflow/plugins$(if $(PYTHONPATH),:$(PYTHONPATH))
export PYTHONUNBUFFERED := 1

.PHONY: run setup reused test test-full bench ui doctor clean
.DEFAULT_GOAL := run

run: $(READY)
	@$(RUN) workflow/drive.py --config "$(CONFIG)" $(if $(DATA),--data "$(DATA)") -- $(ARGS)

setup: $(READY)

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] <= (3, 13) else f"mcvae: Python {v[0]}.{v[1]} found; Python 3.11 to 3.13 is needed: make PYTHON=python3.12")'
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "mcvae: installing the pinned packages into $(VENV) (about 6 GB; some minutes, once)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

reused:
	@test -x $(RUN) || { echo "mcvae: VENV=$(VENV) has no bin/python; give the folder of a virtual environment"; exit 2; }
	@$(RUN) -m mcvae doctor --quiet

test: $(READY)
	$(RUN) -m pytest -m "not full and not network and not gpu" $(ARGS)

test-full: $(READY)
	$(RUN) -m pytest -m "not network" $(ARGS)

bench: $(READY)
	$(RUN) -m pytest tests/benchmarks $(ARGS)

ui: $(READY)
	@$(RUN) -m mcvae ui --port $(PORT)

doctor: $(READY)
	@$(RUN) -m mcvae doctor

clean:
	rm -rf results/runs results/tables results/figures results/reports results/report.html results/.tracked logs .snakemake/log
