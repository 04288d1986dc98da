"""Targeted probe perturbation held against its published formula (SAEBench, arXiv 2503.09532), on one question.

`python benchmarks/versus_published_tpp.py [SAE] [QUESTION]` prints a table: n latents taken away; the published formula;
ours with negatives drawn anew; ours on the same texts. The published one is written down here from its definition: text
by text, every token is encoded, latents are set to zero, what is decoded replaces the reconstruction and its error stays,
tokens are averaged (`--pooling last` reads the last one), and an accuracy is that of a class's test texts and as many drawn from those of all other classes,
drawn anew for each accuracy. Probes and texts are the same in all three.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from saebench.catalogue.registry import resolve
from saebench.evidence.labels.labelled import labelled
from saebench.evidence.labels.layout import Layout
from saebench.evidence.labels.parts import Part
from saebench.evidence.labels.perturbing import Perturbed, Probes, perturbed, probes
from saebench.evidence.labels.readings import Pooling, Readings, read_texts
from saebench.metrics.probe_perturbation import tpp
from saebench.record.store import Store
from saebench.run.options import Options
from saebench.run.run import Run
from saebench.saes.sae import LoadedSAE
from saebench.stats.statistics import repeated

LATENTS = (2, 5, 10, 20, 50, 100)
SEEDS = 10


@dataclass(frozen=True, eq=False)
class Published:
    """The formula, with loops."""

    sae: LoadedSAE
    readings: Readings
    layout: Layout
    learned: Probes

    @cached_property
    def rows(self) -> list[torch.Tensor]:
        """Activations of each text's tokens."""
        counts = np.bincount(self.readings.text_of)
        return list(self.readings.x.float().split(counts.tolist()))

    @cached_property
    def codes(self) -> list[torch.Tensor]:
        with torch.no_grad():
            return [self.sae.encode(x) for x in self.rows]

    def texts(self, j: int, *parts: Part) -> np.ndarray:
        return self.layout.text[j, np.isin(self.layout.part[j], parts)]

    def chosen(self, i: int) -> np.ndarray:
        """Latents of class i in the order of the difference of class means, of no less than 0, times w . W_dec."""
        at = self.texts(i, Part.TRAIN, Part.VALIDATION)
        means = torch.stack([self.codes[t].mean(0) for t in at])
        own = torch.from_numpy(self.readings.positive[at])
        apart = (means[own].mean(0) - means[~own].mean(0)).clamp(min=0)
        effect = apart * (
            torch.as_tensor(self.sae.source.W_dec).float() @ torch.from_numpy(self.learned.weight[i]).float()
        )
        order = torch.argsort(effect, descending=True)
        return order[effect[order] > 0].numpy()

    @cached_property
    def pools(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """By class, its test texts, and those of all other classes which its probe has not learned from."""
        said = [text for one in self.readings.plan.sets for text in one.texts]
        classes = range(len(self.layout.names))
        test = [self.texts(j, Part.TEST) for j in classes]
        own = [texts[self.readings.positive[texts]] for texts in test]
        found = []
        for j in classes:
            known = {said[t] for t in self.texts(j, Part.TRAIN, Part.VALIDATION)}
            found.append((own[j], np.array([t for k in classes for t in own[k] if k != j and said[t] not in known])))
        return found

    @cached_property
    def errors(self) -> list[np.ndarray]:
        """What the SAE misses of each text, mean over its tokens."""
        with torch.no_grad():
            pairs = zip(self.rows, self.codes, strict=True)
            return [(x - self.sae.decode(codes, x)).mean(0).double().numpy() for x, codes in pairs]

    @torch.no_grad()
    def pooled(self, t: int, latents: np.ndarray) -> np.ndarray:
        """Mean activation of a text with latents set to zero, the SAE's error kept."""
        without = self.codes[t].clone()
        without[:, latents] = 0
        return self.sae.decode(without, self.rows[t]).mean(0).double().numpy() + self.errors[t]

    def right(self, latents: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """By class, whether its probe is right at its own test texts, and at each of the pool of the others."""
        asked = sorted({int(t) for pool in self.pools for texts in pool for t in texts})
        said = {t: self.pooled(t, latents) @ self.learned.weight.T + self.learned.bias for t in asked}
        return [
            (np.array([said[t][j] > 0 for t in own]), np.array([said[t][j] <= 0 for t in others]))
            for j, (own, others) in enumerate(self.pools)
        ]

    @cached_property
    def clean(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return self.right(np.array([], dtype=int))

    def values(self, n: int) -> list[float]:
        """The formula for each seed of the negatives."""
        classes = range(len(self.layout.names))
        without = {i: self.right(self.chosen(i)[:n]) for i in classes}
        found = []
        for seed in range(SEEDS):
            rng = np.random.default_rng(seed)
            before = {j: _accuracy(*self.clean[j], rng) for j in classes}
            after = {(i, j): _accuracy(*without[i][j], rng) for i in classes for j in classes}
            drops = {(i, j): before[j] - after[i, j] for i in classes for j in classes}
            found.append(
                float(np.mean([drops[i, i] - np.mean([drops[i, j] for j in classes if j != i]) for i in classes]))
            )
        return found


def _accuracy(own: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> float:
    size = min(len(own), len(others))
    return float((own.mean() + rng.choice(others, size, replace=False).mean()) / 2)


def of_question(run: Run, question: str, pooling: Pooling) -> Readings:
    """Readings of the sets of one question alone."""
    spec = run.specs[0]
    plan = run.labels.plan(spec, pooling)
    (group,) = [group for group in plan.groups if any(question in name for name in group)]
    kept = tuple(one for one in plan.sets if one.name in group)
    own = replace(plan, name=f"{plan.name}/{question}", sets=kept, groups=(group,))
    return read_texts(run.models.subject(spec), run.models.hook(spec), own, run.models.cache())


def table(sae: LoadedSAE, own: Perturbed) -> str:
    readings = own.readings
    layout = Layout.of(readings, range(len(readings.names)))
    published = Published(sae, readings, layout, probes(readings.pooled, layout))
    lines = [
        "| n | published, mean ± SD of 10 draws of negatives | ours, redrawn | ours, paired (95 % interval) | paired, random latents |"
    ]
    lines.append("|---|---|---|---|---|")
    for n in LATENTS:
        theirs, redrawn = published.values(n), []
        for seed in range(SEEDS):
            with repeated(seed):
                redrawn.append(tpp(own, n, "redrawn").value)
        paired = tpp(own, n)
        lines.append(
            f"| {n} | {np.mean(theirs):.4f} ± {np.std(theirs, ddof=1):.4f} | {np.mean(redrawn):.4f} ± {np.std(redrawn, ddof=1):.4f}"
            f" | {paired.value:.4f} ({paired.ci_low:.4f} to {paired.ci_high:.4f}) | {paired.floor:.4f} |"
        )
    return "\n".join(lines)


def main(name: str, question: str, budget: str, pooling: Pooling) -> str:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(resolve(name), Store(Path(folder) / "scores.jsonl"), Options(budget=budget))
        run.preparation.prepare(lambda said: print(said, file=sys.stderr))
        sae, readings = run.holder.sae(run.specs[0]), of_question(run, question, pooling)
        return table(sae, perturbed(sae, labelled(sae, readings, None)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sae", nargs="?", default="organism/topk-16")
    parser.add_argument("question", nargs="?", default="genre")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--pooling", default="mean", choices=["mean", "last"])
    asked_for = parser.parse_args()
    print(main(asked_for.sae, asked_for.question, asked_for.budget, asked_for.pooling))
