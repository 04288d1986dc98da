"""Seconds and memory to load one SAE of 16,384 latents at the width of Gemma 2 2B, from the hub's cache or a folder."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

D_MODEL, D_SAE = 2304, 16_384
LOAD = """
import resource, sys, time
import torch, sae_lens
from saebench.saes.loaders import load_sae
from saebench.catalogue.registry import resolve
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.perf_counter()
(spec,) = resolve(sys.argv[1])
named = time.perf_counter()
sae = load_sae(spec)
loaded = time.perf_counter()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(named - begun, loaded - named, before * 1024, after * 1024)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma Scope's own format, with random weights."""
    path = tmp_path_factory.mktemp("sae") / "mine"
    path.mkdir()
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "W_enc": draw.standard_normal((D_MODEL, D_SAE), dtype=np.float32),
        "W_dec": draw.standard_normal((D_SAE, D_MODEL), dtype=np.float32),
        "b_enc": np.zeros(D_SAE, np.float32), "b_dec": np.zeros(D_MODEL, np.float32),
        "threshold": np.ones(D_SAE, np.float32),
    }  # fmt: skip
    np.savez(path / "params.npz", **arrays)
    return path


def test_load_one_sae_of_real_width(benchmark: Any, folder: Path) -> None:
    """In a process of its own: what is added to the memory that the libraries take, once imported."""
    found: list[list[float]] = []

    def load() -> None:
        done = subprocess.run([sys.executable, "-c", LOAD, str(folder)], capture_output=True, text=True, check=True)
        found.append([float(number) for number in done.stdout.split()])

    benchmark.pedantic(load, rounds=3)
    named, loaded, before, after = np.median(np.array(found), axis=0)
    size = (folder / "params.npz").stat().st_size
    benchmark.extra_info |= {
        "file_mb": size / 1e6, "seconds_to_check_headers_and_digest": named, "seconds_to_load": loaded,
        "peak_mb_before": before / 1e6, "peak_mb_after": after / 1e6, "added_over_file": (after - before) / size,
    }  # fmt: skip
    print(benchmark.extra_info)
