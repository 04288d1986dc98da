"""How often the interval of every kind of score contains the truth, in samples of a population where that is known.

`python tests/support/coverage_simulations.py` prints the table, of 1,000 simulations each; with a word behind it, only the
kinds that contain it, and with a number behind that, of as many simulations.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from coverage_cases import Case, cases
from scipy.stats import binom

from saebench.record.score import Unscored
from saebench.stats.statistics import proportion, repeated, seed_of

SIMULATIONS = 1000
REDRAWN = 50
"""Simulations with the same resampling weights; the next ones get others."""
ASKED = (0.93, 0.97)


@dataclass(frozen=True)
class Coverage:
    share: float
    above: float
    """Share of intervals that lie above the truth."""
    bias: float
    width: float
    n: int

    @property
    def below(self) -> float:
        return 1 - self.share - self.above

    def within(self, deviations: float = 0.0) -> bool:
        """Whether it may be 93 to 97%, so many standard deviations of a binomial on each side allowed."""
        low, high = ASKED
        slack = [deviations * (end * (1 - end) / self.n) ** 0.5 for end in ASKED]
        return low - slack[0] <= self.share <= high + slack[1]


def coverage(case: Case, simulations: int = SIMULATIONS) -> Coverage:
    """Of the intervals of so many samples; those that are unscored are left out."""
    found = np.array([ends for i in range(simulations // case.cost) if (ends := _simulated(case, i))])
    value, low, high = found.T
    above = float((low > case.truth).mean())
    missed = above + float((high < case.truth).mean())
    width = float((high - low).mean())
    return Coverage(1 - missed, above, float(value.mean()) - case.truth, width, len(found))


def _simulated(case: Case, number: int) -> tuple[float, float, float] | None:
    rng = np.random.default_rng([seed_of(f"{case.kind}, {case.condition}"), number])
    try:
        with repeated(1 + number // REDRAWN):
            found = case.measure(rng)
    except Unscored:
        return None
    return found.value, found.ci_low, found.ci_high


def wilson(p: float, n: int) -> tuple[float, float]:
    """Exact coverage of `proportion` and its mean width, averaged over 41 shares from .8 to 1.2 of p."""
    ends = [proportion(k, n, n_unit="latent") for k in range(n + 1)]
    low, high = (np.array([getattr(end, name) for end in ends]) for name in ("ci_low", "ci_high"))
    near = p * np.linspace(0.8, 1.2, 41)[:, None]
    chance = binom.pmf(np.arange(n + 1), n, near)
    covered = (low <= near) & (near <= high)
    return float((chance * covered).sum(1).mean()), float((chance * (high - low)).sum(1).mean())


def main(word: str = "", simulations: int = SIMULATIONS) -> None:
    print("| interval of | condition | coverage | above truth | below | bias | mean width | simulations |")
    print("|:--|:--|--:|--:|--:|--:|--:|--:|", flush=True)
    for case in cases():
        if word in f"{case.kind}, {case.condition}":
            c = coverage(case, simulations)
            row = f"{c.share:.3f} | {c.above:.3f} | {c.below:.3f} | {c.bias:+.2g} | {c.width:.3g} | {c.n}"
            print(f"| {case.kind} | {case.condition} | {row} |", flush=True)
    for p in (0.002, 0.05, 0.5):
        if word in f"dead, dense: p around {p}":
            share, width = wilson(p, 1024)
            print(f"| dead, dense | 1,024 latents, p around {p} | {share:.3f} | | | | {width:.3g} | exact |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))
