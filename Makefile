# Two commands do everything: `make bench` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3.11
VENV ?= .venv
BUDGET ?= quick
SAES ?= organism
SCORES ?= .saebench/organism.jsonl
BOARDS ?= leaderboards
export WANDB_MODE = disabled
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: bench test lint organism benchmarks
bench: $(VENV)/installed
	$(VENV)/bin/pytest suites/ $(foreach sae,$(SAES),--sae '$(sae)') --sae-budget $(BUDGET) --sae-scores $(SCORES)
	$(VENV)/bin/saebench publish $(SCORES) --to $(BOARDS)
	@cat $(BOARDS)/$(notdir $(SCORES:.jsonl=.md))

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests -n auto --dist loadfile

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

organism: $(VENV)/installed
	$(VENV)/bin/python -m saebench.organism

benchmarks: $(VENV)/installed
	$(VENV)/bin/pytest benchmarks --benchmark-only

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
