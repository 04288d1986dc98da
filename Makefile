# `make bench` benchmarks a few SAEs, `make board` all of the embedded model's, `make test` tests saebench itself; `make check`
# is the quick half of that. All set up what they need in .venv.
PYTHON ?= python3.11
VENV ?= .venv
BUDGET ?= quick
# Each architecture once, two widths, one control.
BENCH = batchtopk-16 topk-16-wide standard-16 gated-16 jumprelu-16 matryoshka-16 batchtopk-16-random-model
SAES ?= $(BENCH:%=organism/%)
SCORES ?= .saebench/bench.jsonl
BOARDS ?= .saebench/boards
export WANDB_MODE = disabled
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: bench board check test pinned real lint organism smollm2 toy benchmarks reliability
bench: $(VENV)/installed
	$(VENV)/bin/pytest suites/ -n 2 $(foreach sae,$(SAES),--sae '$(sae)') --sae-budget $(BUDGET) --sae-scores $(SCORES)
	$(VENV)/bin/saebench publish $(SCORES) --to $(BOARDS)
	@cat $(BOARDS)/$(notdir $(SCORES:.jsonl=.md))

board:
	$(MAKE) bench SAES=organism SCORES=.saebench/organism.jsonl BOARDS=leaderboards

# What a reliability card is made of: two SAEs five times over and at every dose of damage, the oracle, and four more SAEs
# with one dose and random directions, since an order is judged over several SAEs. FAMILY=smollm2 is that of the real model, FAMILY=toy that of known features.
FAMILY ?= organism
AS_organism = %-16
AS_smollm2 = %-32
AS_toy = absorption/%-12-120
# What is asked of a toy world's SAEs needs no language model.
OF_toy = suites/test_known_truth.py suites/test_first_letter.py suites/test_absorption.py suites/test_reconstruction.py
RELIABILITY = .saebench/reliability$(if $(filter organism,$(FAMILY)),,-$(FAMILY)).jsonl
REPEATED = $(patsubst %,$(AS_$(FAMILY)),topk batchtopk)
ORDERED = $(patsubst %,$(AS_$(FAMILY)),standard gated jumprelu matryoshka)
DAMAGE = replaced_25 replaced_50 replaced_75 noise_25 noise_50 noise_100 random_l0
PLANTED = $(foreach sae,$(REPEATED),$(DAMAGE:%=$(sae)~%)) $(foreach sae,$(ORDERED),$(sae)~replaced_50 $(sae)~random_l0)
RUN = $(VENV)/bin/pytest $(or $(OF_$(FAMILY)),suites/) --sae-budget $(BUDGET) --sae-scores $(RELIABILITY)
reliability: $(VENV)/installed
	$(RUN) $(REPEATED:%=--sae $(FAMILY)/%) --sae-seeds 5
	$(RUN) $(patsubst %,--sae '$(FAMILY)/%',$(firstword $(REPEATED))~oracle $(PLANTED))
	$(VENV)/bin/saebench publish $(RELIABILITY) --to leaderboards

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest $(LONGEST:%=tests/%) tests --ignore tests/real -n auto --dist loadfile
# First what takes longest, so that no worker is left alone with it.
LONGEST = whole/test_end_to_end.py truth/test_invariance.py whole hub/test_needs.py truth evidence/game

# A real model, from the package index: 138 MB. Of all suites, two are held to pinned values.
pinned: $(VENV)/installed
	$(VENV)/bin/pytest tests/real
real: pinned
	$(VENV)/bin/pytest suites/ --sae smollm2/topk-32 --sae-budget smoke --sae-scores .saebench/real.jsonl

# The quick half: what needs no run of a suite and no language model.
QUICK = record stats compare organism evidence/words reliability boards exchange
check: lint
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest $(QUICK:%=tests/%) -n auto --dist loadfile -q

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

organism smollm2 toy: $(VENV)/installed
	$(VENV)/bin/python -m saebench.zoo $@

benchmarks: $(VENV)/installed
	$(VENV)/bin/pytest benchmarks --benchmark-only

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
