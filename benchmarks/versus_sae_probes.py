"""Sparse probing held against the package sae-probes: the same SAE, the same activations, texts, and parts of texts.

`pip install pytest-saebench[parity]`, then `python benchmarks/versus_sae_probes.py [SAE] [--sets 20]` prints a table: AUC of
both at k = 1 and 16, and the seconds of a processor that both take for all labelled sets of one SAE, activations of the model being read already.
The package is given the texts that are learned from, those that choose last (it takes the last fifth, at most 100, to
choose how much weights are held back) and the tests. It is asked in three ways:

- as it is: with latents as the SAE scales them, in whose units weights are held back;
- in the units in which saebench takes them, of each latent's mean where it is active;
- in these, on the latents that saebench chose (of equals either may be chosen) and with weights that scikit-learn has
  found to ten digits, where its default stops at four: so little can change which strength is best on validation texts.
"""

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

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
    """AUC (set, k) on the same test texts, and seconds of a processor."""

    names: tuple[str, ...]
    ours: np.ndarray
    theirs: np.ndarray
    """With latents as the SAE scales them."""
    in_our_units: np.ndarray
    converged: np.ndarray
    same_latents: np.ndarray
    """(set, k) whether both chose the same."""
    seconds: dict[str, float]


def compared(sae: LoadedSAE, readings: Readings, most: int | None = None) -> Compared:
    """Both on the sets where they choose alike, or the first of them; seconds are of all these."""
    start = time.process_time()
    latents, unit = in_own_units(latents_of(sae, readings))
    labelled = Labelled(readings, latents, None, unit)
    encoded = time.process_time()
    every = Layout.of(readings, asked(readings))
    alike = np.flatnonzero(every.mask(Part.TRAIN, Part.VALIDATION).sum(1) >= FEWEST)[:most]
    layout = Layout.of(readings, [asked(readings)[i] for i in alike])
    chosen = [choose(latents, layout, k, "published") for k in KS]
    ours = np.stack([on_latents(latents, layout, few).auc for few in chosen], axis=1)
    probed = time.process_time()
    theirs = [asked_of_it(sae, labelled, one) for one in layout.each()]
    done = time.process_time()
    scaled = [asked_of_it(sae, labelled, one, scaled=True) for one in layout.each()]
    given = [[few[i] for few in chosen] for i in range(len(layout.names))]
    exact = [
        asked_of_it(sae, labelled, one, scaled=True, chosen=own) for one, own in zip(layout.each(), given, strict=True)
    ]
    same = [
        [set(a) == set(b) for a, b in zip(own, found[1], strict=True)] for own, found in zip(given, scaled, strict=True)
    ]
    seconds = {"encode": encoded - start, "ours": probed - start, "theirs": done - probed}
    each = (np.array([auc for auc, _ in found]) for found in (theirs, scaled, exact))
    return Compared(layout.names, ours, *each, np.array(same), seconds)


def asked_of_it(
    sae: LoadedSAE, labelled: Labelled, one: Layout, *, scaled: bool = False, chosen: list[np.ndarray] | None = None
) -> tuple[list[float], list[np.ndarray]]:
    """Its AUC of one set, and the latents that it chose, for each k; of those that are given, with converged weights."""
    from sae_probes import utils_training
    from sae_probes.run_sae_evals import get_sorted_indices, mean_act_normalization

    # Those that choose come last of what is learned from: it takes as many from the end.
    parts = [[Part.TRAIN, Part.VALIDATION], [Part.TEST]]
    at = [np.concatenate([np.flatnonzero(one.part[0] == part) for part in several]) for several in parts]
    x, y = zip(*((_dense(sae, labelled, one.text[0, rows], scaled), one.positive[0, rows]) for rows in at), strict=True)
    if chosen is None:
        order = get_sorted_indices(x[0], torch.from_numpy(y[0]), mean_act_normalization)
        few, as_it_is = [order[:k].numpy() for k in KS], utils_training.LogisticRegression
    else:
        x = tuple(each.double() for each in x)
        few, as_it_is = chosen, partial(utils_training.LogisticRegression, solver="newton-cholesky", tol=1e-10)
    aucs = []
    with patch.object(utils_training, "LogisticRegression", as_it_is):
        for own in few:
            rows = [each[:, own.copy()].numpy() for each in x]
            found = utils_training.find_best_reg(rows[0], y[0].astype(int), rows[1], y[1].astype(int), penalty="l2")
            aucs.append(found.metrics.test_auc)
    return aucs, few


def _dense(sae: LoadedSAE, labelled: Labelled, texts: np.ndarray, scaled: bool) -> torch.Tensor:
    x = labelled.readings.x[torch.from_numpy(texts)].float()
    with torch.inference_mode():
        found = torch.cat([sae.encode(part).cpu().float() for part in x.split(BATCH)])
    return found / torch.from_numpy(labelled.unit).float() if scaled else found


def table(found: Compared) -> str:
    ways = {"theirs": found.theirs, "in our units": found.in_our_units, "and converged": found.converged}
    lines = ["| data set | " + " | ".join(f"k={k} ours | {' | '.join(ways)} | same latents" for k in KS) + " |"]
    lines.append("|---" * (1 + 5 * len(KS)) + "|")
    for i, name in enumerate(found.names):
        cells = []
        for j in range(len(KS)):
            cells += [f"{each[i, j]:.4f}" for each in (found.ours, *ways.values())]
            cells.append("yes" if found.same_latents[i, j] else "no")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for j, k in enumerate(KS):
        for name, other in ways.items():
            apart = found.ours[:, j] - other[:, j]
            lines.append(
                f"k={k}, {name}: ours is {apart.mean():+.4f} on average, {np.abs(apart).max():.4f} apart at most, within .005"
                f" on {(np.abs(apart) <= 0.005).sum()} of {len(apart)}"
            )
    spent = found.seconds
    times = (spent["theirs"] - spent["encode"]) / (spent["ours"] - spent["encode"])
    lines.append(
        f"seconds of a processor for {len(found.names)} sets: ours {spent['ours']:.2f}, of which {spent['encode']:.2f} to encode all texts;"
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
