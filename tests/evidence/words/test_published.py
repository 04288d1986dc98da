"""Published absorption is what its formulas say, word by word, against plain loops over dense latents."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from saebench.evidence.words import published

Floats = NDArray[np.float64]
Loop = Callable[[list[float], list[float], set[int], float], float]
LATENTS, WORDS = 24, 1500


def full_by_hand(
    a: list[float],
    cos: list[float],
    split: set[int],
    p: float,
    cosine: float = 0.025,
    share: float = 0.4,
    silent: float = 1e-8,
) -> float:
    """1 if all split latents are silent and the latent that writes most along the probe is aligned and holds enough."""
    for i in split:
        if a[i] >= silent:
            return 0.0
    top = 0
    for i in range(len(a)):
        if a[i] * cos[i] > a[top] * cos[top]:
            top = i
    if cos[top] < cosine or p < 0:
        return 0.0
    return 1.0 if share_of(a[top] * cos[top], p) >= share else 0.0


def fraction_0_6_0_by_hand(
    a: list[float], cos: list[float], split: set[int], p: float, cosine: float = 0.1, share: float = 0.4, most: int = 3
) -> float:
    """A' / (A' + M): of the projection, what the three best absorbers hold, but no more than the main ones lack."""
    main, candidates = 0.0, []
    for i in range(len(a)):
        if i in split:
            main += a[i] * cos[i]
        elif cos[i] >= cosine and a[i] * cos[i] > 0:
            candidates.append(a[i] * cos[i])
    absorbed = sum(sorted(candidates, reverse=True)[:most])
    if main >= p or not share_of(absorbed, p) >= share:
        return 0.0
    if main <= 0:
        return 1.0
    taken = min(absorbed, p - main)
    return min(max(taken / (taken + main), 0.0), 1.0)


def fraction_0_3_2_by_hand(a: list[float], cos: list[float], split: set[int], p: float) -> float:
    """(A - M) / A of the projections of all latents and of the main ones."""
    main = everything = 0.0
    for i in range(len(a)):
        everything += a[i] * cos[i]
        if i in split:
            main += a[i] * cos[i]
    if main >= p or everything <= 0:
        return 0.0
    return min(max((everything - main) / everything, 0.0), 1.0)


def share_of(held: float, p: float) -> float:
    """As tensors divide: a share of nothing is infinite, or undefined, which reaches no threshold."""
    if p == 0:
        return math.inf if held > 0 else math.nan
    return held / p


PAIRS: dict[str, tuple[Callable[[published.Projections], Any], Loop]] = {
    "full": (published.full_absorption, full_by_hand),
    "0.6.0": (published.fraction_0_6_0, fraction_0_6_0_by_hand),
    "0.3.2": (published.fraction_0_3_2, fraction_0_3_2_by_hand),
}
WRONG: dict[str, tuple[str, Loop]] = {
    "share": ("full", partial(full_by_hand, share=0.41)),
    "share, from above": ("full", partial(full_by_hand, share=0.4000001)),
    "cosine": ("full", partial(full_by_hand, cosine=0.03)),
    "silence": ("full", partial(full_by_hand, silent=1e-6)),
    "share of 0.6.0": ("0.6.0", partial(fraction_0_6_0_by_hand, share=0.39)),
    "share of 0.6.0, from above": ("0.6.0", partial(fraction_0_6_0_by_hand, share=0.4000001)),
    "cosine of 0.6.0": ("0.6.0", partial(fraction_0_6_0_by_hand, cosine=0.1000001)),
    "two absorbers": ("0.6.0", partial(fraction_0_6_0_by_hand, most=2)),
    "four absorbers": ("0.6.0", partial(fraction_0_6_0_by_hand, most=4)),
    "other version": ("0.6.0", fraction_0_3_2_by_hand),
}


class Case:
    """Words with the same probe and split: dense activations (word, latent), cosines (latent,), projections (word,)."""

    def __init__(self, activations: Floats, cosines: Floats, split: set[int], total: Floats) -> None:
        self.activations, self.cosines, self.split, self.total = activations, cosines, split, total

    def projections(self) -> published.Projections:
        split = np.array(sorted(self.split), dtype=np.intp)
        return published.projections(sparse.csr_array(self.activations), self.cosines, split, self.total)

    def by_hand(self, score: Loop) -> list[float]:
        rows = zip(self.activations.tolist(), self.total.tolist(), strict=True)
        return [score(row, self.cosines.tolist(), self.split, total) for row, total in rows]


def random_case(rng: np.random.Generator) -> Case:
    """None to eight active latents, some of them split latents alone, and projections of any sign."""
    active = rng.random((WORDS, LATENTS)) < rng.choice([0.0, 0.05, 0.2, 0.35], size=(WORDS, 1))
    split = set(rng.choice(LATENTS, size=rng.integers(1, 4), replace=False).tolist())
    others = [i for i in range(LATENTS) if i not in split]
    active[: WORDS // 10, others] = False
    active[WORDS // 10 : WORDS // 2, list(split)] = False
    activations = active * rng.exponential(size=active.shape)
    cosines = rng.uniform(-0.5, 1, size=LATENTS)
    cosines[others[:6]] = [0.025, 0.0249999, 0.1, 0.0999999, 0.027, -0.1]
    total = (activations @ cosines) * rng.uniform(-0.2, 3, size=WORDS) + rng.choice([0, 0.1, -0.1], size=WORDS)
    return Case(activations, cosines, split, total)


def grid_case(rng: np.random.Generator) -> Case:
    """Small whole numbers and eighths, whose sums are exact: ties, and shares of exactly two fifths."""
    activations = rng.choice([0, 0, 0, 0, 0, 0, 1, 2, 4, 5, 8], size=(WORDS, LATENTS)).astype(np.float64)
    cosines = rng.choice([-0.5, -0.125, 0, 0.125, 0.25, 0.5, 1], size=LATENTS)
    split = set(range(rng.integers(1, 4)))
    activations[: WORDS // 2, list(split)] = 0.0
    return Case(activations, cosines, split, rng.integers(-4, 24, size=WORDS).astype(np.float64))


def top_case(rng: np.random.Generator) -> Case:
    """One absorber near the thresholds of full absorption, and a split latent about silent."""
    activations, total = (
        np.zeros((WORDS, LATENTS)),
        rng.choice([1.0, 5.0, 0.0, -1.0], size=WORDS, p=[0.4, 0.4, 0.1, 0.1]),
    )
    cosines = np.linspace(0.02, 0.03, LATENTS)
    cosines[:3] = [0.9, 0.025, 0.5]
    at = rng.integers(1, LATENTS, size=WORDS)
    held = rng.choice([0.39, 0.3999999, 0.4, 0.4000001, 0.405, 0.5], size=WORDS)
    activations[np.arange(WORDS), at] = held * np.abs(total) / cosines[at]
    activations[:, 0] = rng.choice([0.0, 0.9e-8, 1e-8, 5e-7, 1e-3], size=WORDS, p=[0.6, 0.1, 0.1, 0.1, 0.1])
    return Case(activations, cosines, {0}, total)


MAKERS = {"random": random_case, "grid": grid_case, "top": top_case}


@cache
def case(kind: str, seed: int) -> Case:
    return MAKERS[kind](np.random.default_rng(seed))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("seed", range(3))
def test_vectors_are_the_loop(name: str, kind: str, seed: int) -> None:
    vectors, loop = PAIRS[name]
    words = case(kind, seed)
    found = np.asarray(vectors(words.projections()), dtype=np.float64)
    assert found == pytest.approx(words.by_hand(loop), abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_words_are_of_all_kinds(name: str) -> None:
    """So that agreement is about something: both ends of the scale, and much in between."""
    values = [value for kind in MAKERS for value in case(kind, 0).by_hand(PAIRS[name][1])]
    assert min(values.count(0.0), values.count(1.0)) > 50
    assert name == "full" or sum(0 < value < 1 for value in values) > 100


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_formula_would_be_noticed(wrong: str) -> None:
    name, loop = WRONG[wrong]
    differ = 0
    for kind in MAKERS:
        found = np.asarray(PAIRS[name][0](case(kind, 0).projections()), dtype=np.float64)
        differ += int((np.abs(found - case(kind, 0).by_hand(loop)) > 1e-12).sum())
    assert differ > 0


@pytest.mark.parametrize("name", PAIRS)
def test_order_of_latents_and_what_is_dead_do_not_matter(name: str) -> None:
    words, rng = case("random", 1), np.random.default_rng(0)
    order = rng.permutation(LATENTS)
    place = np.argsort(order)
    activations = np.concatenate([words.activations[:, order], np.zeros((WORDS, 5))], axis=1)
    cosines = np.concatenate([words.cosines[order], np.ones(5)])
    turned = Case(activations, cosines, {int(place[i]) for i in words.split}, words.total)
    vectors = PAIRS[name][0]
    assert vectors(turned.projections()) == pytest.approx(vectors(words.projections()), abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("total", [1.0, 0.0, -1.0])
def test_a_word_without_active_latents_is_not_absorbed(name: str, total: float) -> None:
    words = Case(np.zeros((3, LATENTS)), np.ones(LATENTS), {0}, np.full(3, total))
    assert list(PAIRS[name][0](words.projections())) == [0, 0, 0]


@pytest.mark.parametrize(
    ("main", "absorber", "full", "newer", "older"),
    [
        (0.0, 1.0, 1, 1, 1),
        (0.0, 0.4, 1, 1, 1),
        (0.0, 0.39, 0, 0, 1),
        (0.5, 0.5, 0, 0.5, 0.5),
        (0.7, 0.3, 0, 0, 0.3),
        (0.5, 2.0, 0, 0.5, 0.8),
        (1.0, 1.0, 0, 0, 0),
    ],
)
def test_by_the_book(main: float, absorber: float, full: float, newer: float, older: float) -> None:
    """One split latent and one other, both along the probe, at a word whose projection is 1."""
    words = Case(np.array([[main, absorber]]), np.ones(2), {0}, np.ones(1)).projections()
    assert published.full_absorption(words).tolist() == [bool(full)]
    assert published.fraction_0_6_0(words) == pytest.approx([newer])
    assert published.fraction_0_3_2(words) == pytest.approx([older])


def test_four_absorbers_count_as_three() -> None:
    words = Case(np.array([[0.4, 0.12, 0.12, 0.12, 0.12]]), np.ones(5), {0}, np.ones(1)).projections()
    assert published.fraction_0_6_0(words).tolist() == [0]
    assert published.fraction_0_3_2(words) == pytest.approx([0.48 / 0.88])
