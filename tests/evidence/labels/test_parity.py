"""The package sae-probes, where it is installed (extra `parity`), says the same of the same latents of the same texts."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from paths import ROOT

from saebench.catalogue.registry import resolve
from saebench.record.store import Store
from saebench.run.run import Run

torch.set_num_threads(1)
SETS = 20


@pytest.fixture
def versus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("versus_sae_probes", ROOT / "benchmarks" / "versus_sae_probes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_auc_is_that_of_the_package_on_twenty_sets(versus: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("sae_probes.utils_training", reason="the extra `parity` is not installed", exc_type=ImportError)
    run = Run(resolve("organism/topk-16"), Store(tmp_path / "scores.jsonl"))
    sae = run.holder.sae(run.specs[0])
    found = versus.compared(sae, run.labels.readings(sae.spec, "last"), SETS)
    assert len(found.names) == SETS
    one, sixteen = 0, 1
    # One latent ranks texts in the same order whatever its units are.
    assert np.abs(found.ours - found.theirs)[:, one].max() < 0.005
    # Of sixteen, units and unfinished weights matter; with both alike nothing is left.
    assert np.abs(found.ours - found.converged)[:, sixteen].max() < 0.005
    assert np.median(np.abs(found.ours - found.in_our_units)[:, sixteen]) < 0.005
    assert found.same_latents[:, one].all()
    assert found.same_latents[:, sixteen].mean() > 0.75
