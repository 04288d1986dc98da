"""Sparse probing held against the package sae-probes: the same SAE, the same activations, texts, and parts of texts.

`pip install pytest-saebench[parity]`, then `python benchmarks/versus_sae_probes.py [SAE] [--sets 20]` prints a table: AUC of
both at k = 1 and 16, and the seconds of both for all labelled sets of one SAE, activations of the model being read already.
The package is given the texts that are learned from, those that choose last (it takes the last fifth, at most 100, to
choose how much weights are held back) and the tests. Held back are weights in the units of latents: so it is asked twice,
with latents as the SAE scales them, and in units of their mean where they are active, as saebench takes them.
"""

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from saebench.evidence.labels.labelled import in_own_units, latents_of
from saebench.evidence.labels.layout import Layout, asked
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.probing import Labelled, choose, on_latents
from saebench.evidence.labels.readings import Readings
from saebench.saes.sae import LoadedSAE

KS = (1, 16)
BATCH = 128
"""Texts per encoding, as the package has it."""
FEWEST = 128
"""Texts that are learned from, below which the package chooses by folds in place of a part that is held out."""


@dataclass(frozen=True)
class Compared:
    """AUC (set, k) on the same test texts, and seconds."""

    names: tuple[str, ...]
    ours: np.ndarray
    theirs: np.ndarray
    """With latents as the SAE scales them."""
    in_our_units: np.ndarray
    seconds: dict[str, float]


def compared(sae: LoadedSAE, readings: Readings, most: int | None = None) -> Compared:
    """Both on the sets where they choose alike, or the first of them; seconds are of all these."""
    start = time.perf_counter()
    latents, unit = in_own_units(latents_of(sae, readings))
    labelled = Labelled(readings, latents, None, unit)
    encoded = time.perf_counter()
    every = Layout.of(readings, asked(readings))
    alike = np.flatnonzero(every.mask(Part.TRAIN, Part.VALIDATION).sum(1) >= FEWEST)[:most]
    layout = Layout.of(readings, [asked(readings)[i] for i in alike])
    ours = np.stack([on_latents(latents, layout, choose(latents, layout, k, "published")).auc for k in KS], axis=1)
    probed = time.perf_counter()
    rows = [_theirs(sae, labelled, one, scaled=False) for one in layout.each()]
    done = time.perf_counter()
    same = [_theirs(sae, labelled, one, scaled=True) for one in layout.each()]
    seconds = {"encode": encoded - start, "ours": probed - start, "theirs": done - probed}
    return Compared(layout.names, ours, np.array(rows), np.array(same), seconds)


def _theirs(sae: LoadedSAE, labelled: Labelled, one: Layout, *, scaled: bool) -> list[float]:
    """AUC for each k, of one set."""
    from sae_probes.run_sae_evals import get_sorted_indices, mean_act_normalization
    from sae_probes.utils_training import find_best_reg

    # Those that choose come last of what is learned from: it takes as many from the end.
    parts = [[Part.TRAIN, Part.VALIDATION], [Part.TEST]]
    at = [np.concatenate([np.flatnonzero(one.part[0] == part) for part in several]) for several in parts]
    x, y = zip(*((_dense(sae, labelled, one.text[0, rows], scaled), one.positive[0, rows]) for rows in at), strict=True)
    order = get_sorted_indices(x[0], torch.from_numpy(y[0]), mean_act_normalization)
    kept = [[each[:, order[:k]].numpy() for each in x] for k in KS]
    found = [find_best_reg(few[0], y[0].astype(int), few[1], y[1].astype(int), penalty="l2") for few in kept]
    return [one.metrics.test_auc for one in found]


def _dense(sae: LoadedSAE, labelled: Labelled, texts: np.ndarray, scaled: bool) -> torch.Tensor:
    x = labelled.readings.x[torch.from_numpy(texts)].float()
    with torch.inference_mode():
        found = torch.cat([sae.encode(part).cpu().float() for part in x.split(BATCH)])
    return found / torch.from_numpy(labelled.unit).float() if scaled else found


def table(found: Compared) -> str:
    lines = ["| data set | " + " | ".join(f"k={k} ours | theirs | in our units" for k in KS) + " |"]
    lines.append("|---" * (1 + 3 * len(KS)) + "|")
    for i, name in enumerate(found.names):
        cells = [f"{each[i, j]:.4f}" for j in range(len(KS)) for each in (found.ours, found.theirs, found.in_our_units)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for j, k in enumerate(KS):
        for name, other in (("theirs", found.theirs), ("theirs in our units", found.in_our_units)):
            apart = found.ours[:, j] - other[:, j]
            lines.append(
                f"k={k}, {name}: ours is {apart.mean():+.4f} on average, {np.abs(apart).max():.4f} apart at most, within .005"
                f" on {(np.abs(apart) <= 0.005).sum()} of {len(apart)}"
            )
    spent = found.seconds
    times = (spent["theirs"] - spent["encode"]) / (spent["ours"] - spent["encode"])
    lines.append(
        f"seconds for {len(found.names)} sets: ours {spent['ours']:.2f}, of which {spent['encode']:.2f} to encode all texts;"
        f" theirs {spent['theirs']:.2f}, {spent['theirs'] / spent['ours']:.0f} times as much ({times:.0f} times without encoding)"
    )
    return "\n".join(lines)


def measured(name: str, budget: str, most: int | None) -> Compared:
    import tempfile
    from pathlib import Path

    from saebench.catalogue.registry import resolve
    from saebench.record.store import Store
    from saebench.run.options import Options
    from saebench.run.run import Run

    with tempfile.TemporaryDirectory() as folder:
        run = Run(resolve(name), Store(Path(folder) / "scores.jsonl"), Options(budget=budget))
        run.preparation.prepare(lambda said: print(said, file=sys.stderr))
        sae: Any = run.holder.sae(run.specs[0])
        return compared(sae, run.labels.readings(sae.spec, "last"), most)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sae", nargs="?", default="smollm2/topk-32")
    parser.add_argument("--sets", type=int, default=None)
    parser.add_argument("--budget", default="quick")
    asked_for = parser.parse_args()
    warnings.simplefilter("ignore")
    print(table(measured(asked_for.sae, asked_for.budget, asked_for.sets)))
