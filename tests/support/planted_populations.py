"""Samples of populations whose scores are known: documents, words and concepts, games, and what else is drawn.

How much they vary is like what the embedded model's SAEs do at `quick`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from saebench.evidence.game.games import Table

Floats = NDArray[np.float64]
Sums = dict[str, Floats]
Random = np.random.Generator
LENGTHS = np.arange(20, 64)
WORDS = 40
"""Words per concept; some are of none."""
PREFIXES = 8


def lognormal(rng: Random, spread: float, size: int | tuple[int, ...]) -> Floats:
    """Factors with a mean of 1."""
    return np.exp(spread * rng.normal(size=size) - spread**2 / 2)


# Documents


def _of_length(length: NDArray[np.int_]) -> Floats:
    """Longer documents are easier per token."""
    return np.exp(-0.2 * (length - LENGTHS.mean()) / LENGTHS.std())


LOSS = float((LENGTHS * _of_length(LENGTHS)).sum() / LENGTHS.sum())
"""Mean loss per token of `losses`, whatever their spread."""


def losses(rng: Random, n: int, spread: float) -> tuple[Floats, Floats]:
    """Sums of a loss, and lengths, of documents that differ in both."""
    length = rng.choice(LENGTHS, n)
    return length * _of_length(length) * lognormal(rng, spread, n), length.astype(np.float64)


def two_sums(rng: Random, n: int, spread: float, other: float, correlation: float) -> tuple[Floats, Floats]:
    """Skewed sums whose population ratio is 1."""
    z = rng.normal(size=(2, n))
    z[1] = correlation * z[0] + (1 - correlation**2) ** 0.5 * z[1]
    return np.exp(spread * z[0] - spread**2 / 2), np.exp(other * z[1] - other**2 / 2)


def tokens(rng: Random, documents: int) -> list[Floats]:
    """(token,) values of each document, with a mean of 1 and an effect of the document."""
    return [1 + 0.5 * rng.normal() + rng.normal(size=size) for size in rng.choice(LENGTHS, documents)]


# Words and concepts


@dataclass(frozen=True)
class Letters:
    """Concepts that are easier or harder to detect, and words of which some are easily taken for anything."""

    concepts: int
    spread: float

    def _population(self, rng: Random, concepts: int) -> tuple[Floats, Floats, Floats]:
        """(concept,) share of words, recall, and share of other words that are taken for the concept's."""
        share = rng.uniform(10, 40, concepts) / (WORDS * self.concepts)
        recall = 1 / (1 + np.exp(-(1.2 + self.spread * rng.normal(size=concepts))))
        return share, recall, 0.008 * np.exp(0.8 * self.spread * rng.normal(size=concepts))

    def truth(self, statistic: Callable[[Sums], Floats]) -> float:
        share, recall, wrong = self._population(np.random.default_rng(1), 400_000)
        hits = recall * share
        return float(statistic({"hits": hits, "said": hits + wrong * (1 - share), "member": share}).mean())

    def sums(self, rng: Random) -> Sums:
        """(word, concept), over readings after eight prompts, of which a word's are alike."""
        share, recall, wrong = self._population(rng, self.concepts)
        concept = rng.choice(self.concepts + 1, WORDS * self.concepts, p=[*share, 1 - share.sum()])
        member = (concept[:, None] == np.arange(self.concepts)).astype(np.float64)
        loud = lognormal(rng, 0.5, len(concept))[:, None]
        chance = np.where(member > 0, recall, np.clip(wrong * loud, 1e-6, 0.5))
        said = rng.binomial(PREFIXES, np.nan_to_num(rng.beta(chance, 1 - chance))) / PREFIXES
        return {"hits": said * member, "said": said, "member": member}


def shared_words(rng: Random, concepts: int, words: int) -> Sums:
    """Every word is of each concept with a chance of .3, and as easy for all of them: recall of nested concepts."""
    member = (rng.random((words, concepts)) < 0.3).astype(np.float64)
    logit = 1 + 0.5 * rng.normal(size=concepts) + 1.5 * rng.normal(size=(words, 1))
    return {"hits": rng.binomial(1, 1 / (1 + np.exp(-logit))) * member, "said": member, "member": member}


def suppressed(rng: Random, concepts: int, a: float, b: float) -> Sums:
    """Sums of `absorption.suppression`: concepts are suppressed by a share that is Beta(a, b)."""
    share, size = rng.beta(a, b, concepts), rng.uniform(10, 40, concepts)
    concept = rng.choice(concepts, 30 * concepts, p=size / size.sum())
    child = rng.random(len(concept)) < rng.beta(2, 4, concepts)[concept]
    scale = rng.gamma(4, 1, concepts)[concept]
    main = scale * rng.gamma(4, 1, len(concept)) * (rng.random(len(concept)) < 0.85)
    main = np.where(child, 1 - share[concept], 1) * main
    of = (concept[:, None] == np.arange(concepts)).astype(np.float64)
    with_child, others = of * child[:, None], of * ~child[:, None]
    return {
        "main_child": main[:, None] * with_child, "child": with_child,
        "main_others": main[:, None] * others, "others": others,
    }  # fmt: skip


@dataclass(frozen=True)
class Rates:
    """Concepts of which a share has a rate of zero, and the others one that is Beta(a, b)."""

    concepts: int
    zero: float
    a: float
    b: float

    @property
    def truth(self) -> float:
        return (1 - self.zero) * self.a / (self.a + self.b)

    def sums(self, rng: Random) -> Sums:
        """(word, concept), over readings, of which a word's are alike."""
        rate = np.where(rng.random(self.concepts) < self.zero, 0.0, rng.beta(self.a, self.b, self.concepts))
        size = rng.uniform(10, 40, self.concepts)
        concept = rng.choice(self.concepts, 25 * self.concepts, p=size / size.sum())
        chance = np.clip(rate[concept], 1e-9, 1 - 1e-9)
        score = np.where(rate[concept] > 0, rng.binomial(PREFIXES, np.nan_to_num(rng.beta(chance, 1 - chance))), 0)
        of = (concept[:, None] == np.arange(self.concepts)).astype(np.float64)
        return {"score": score[:, None] * of, "rows": PREFIXES * of}


# Games


@dataclass(frozen=True)
class Answers:
    """Real directions exceed fakes by `gap` on average; standard deviations of what features, prompts and both add."""

    features: int
    prompts: int
    gap: float
    feature: float
    prompt: float
    both: float
    nested: bool = False
    """Each feature is asked about at one prompt only."""

    @property
    def auc(self) -> float:
        """Of a feature and the fake of another one."""
        return float(norm.cdf(self.gap / (2 * (self.feature**2 + self.both**2) + self.prompt**2) ** 0.5))

    def table(self, rng: Random) -> Table:
        return self.tables(rng, [self.gap])[0]

    def tables(self, rng: Random, gaps: list[float]) -> list[Table]:
        """The same real features and prompts against other fakes, which are as much lower as `gaps` say."""
        shape = (self.prompts, self.features)
        own, by_prompt = rng.normal(size=self.features), self.prompt * rng.normal(size=(self.prompts, 1))
        asked = rng.random(shape) < 0.95
        if self.nested:
            asked = rng.integers(self.prompts, size=self.features) == np.arange(self.prompts)[:, None]
        real = np.where(asked, self.feature * own + self.both * rng.normal(size=shape), np.nan)
        ids = np.tile(np.arange(self.features), (self.prompts, 1))
        found = []
        for gap in gaps:
            like = 0.5 * own + 0.75**0.5 * rng.normal(size=self.features)
            fake = self.feature * like + self.both * rng.normal(size=shape) - by_prompt - gap
            found.append(Table(real, np.where(asked, fake, np.nan), ids, ids))
        return found
