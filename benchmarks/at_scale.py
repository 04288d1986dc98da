"""The word suites at a scale of real models, in a process of its own so that its peak memory can be read off.

`python benchmarks/at_scale.py WORDS LATENTS` prints seconds per step and gigabytes at the peak, as JSON. Weights are
random, with a planted latent per letter; an SAE is read as any other.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.words.concepts import Plan, load_concepts
from saebench.evidence.words.detectors import find_detectors
from saebench.evidence.words.probes import fit_probe
from saebench.evidence.words.readings import Readings
from saebench.evidence.words.study import make_study
from saebench.evidence.words.vocabulary import Split, Word, WordFilter
from saebench.metrics import absorption, first_letter
from saebench.record.score import Unscored
from saebench.saes.sae import LoadedSAE

D, L0, ACTIVE, STRENGTH, BATCH = 2304, 80, 20, 12.0, 2048


class ThresholdSAE:
    """Random unit directions; on above a threshold that gives the L0 that is asked for."""

    def __init__(self, latents: int, device: str) -> None:
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(latents, D, generator=generator)
        self.W_dec = (directions / directions.norm(dim=1, keepdim=True)).to(device)
        self.threshold = 0.0

    def encode(self, x: Tensor) -> Tensor:
        before = x @ self.W_dec.T
        return torch.where(before > self.threshold, before, 0.0)

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.W_dec


def readings(sae: ThresholdSAE, count: int) -> Readings:
    """Words of random letters; the latents 0 to 25 are those of the letters."""
    rng = np.random.default_rng(0)
    letters = rng.integers(0, 26, count)
    words = tuple(Word(f" {chr(97 + letter)}{_letters(i)}", i) for i, letter in enumerate(letters))
    x = torch.empty(count, 1, D)
    decoder = sae.W_dec.cpu()
    for start in range(0, count, BATCH):
        rows = slice(start, min(start + BATCH, count))
        on = torch.from_numpy(rng.integers(26, len(decoder), (rows.stop - start, ACTIVE)))
        noise = torch.from_numpy(rng.standard_normal((len(on), D), dtype=np.float32))
        x[rows, 0] = STRENGTH * decoder[torch.from_numpy(letters[rows])] + 6 * decoder[on].sum(1) + noise
    plan = Plan(load_concepts("letters"), WordFilter(), prefixes=1)
    return Readings(plan, "blocks.0.hook_resid_post", words, ((0,),), x)


def _letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


def measured(words: int, latents: int, device: str) -> dict[str, Any]:
    sae = ThresholdSAE(latents, device)
    read = readings(sae, words)
    x = read.x.flatten(0, 1)
    sae.threshold = float(torch.quantile((x[:64].to(device) @ sae.W_dec.T).flatten()[:16_000_000:2], 1 - L0 / latents))
    loaded = LoadedSAE(SAESpec("large/sae", "python", "large", d_in=D), sae, "digest", device)
    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        try:
            return work()
        finally:
            if device == "cuda":
                torch.cuda.synchronize()
            seconds[name] = round(time.perf_counter() - begun, 2)

    def encode() -> None:
        for start in range(0, words, BATCH):
            sae.encode(x[start : start + BATCH].to(device))

    step("bare encode", encode)
    probe = step("probe", lambda: fit_probe(x, read.member, read.rows(Split.TRAIN), read.rows(Split.VALIDATION)))
    study = step("study", lambda: make_study(loaded, read, probe))
    detectors = step("detectors", lambda: find_detectors(study))
    f1 = step("first letter", lambda: first_letter.f1(study, detectors))
    step("full rate", lambda: absorption.full_rate(study, detectors))
    step("fraction", lambda: absorption.fraction_0_6_0(study, detectors))
    try:
        step("suppression", lambda: absorption.suppression_ratio(study, detectors))
    except Unscored:  # random latents are on for no part of a letter, but all the work is done
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "words": words, "latents": latents, "l0": round(study.latents.nnz / words, 1), "f1": round(f1.value, 3),
        "device": device, "peak_gb": round(peak, 2), "seconds": seconds,
    }  # fmt: skip


if __name__ == "__main__":
    where = "cuda" if torch.cuda.is_available() else "cpu"
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]), where)))
