"""Kinds of intervals, each with a condition, the truth there, and how a sample's interval is made."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol
from unittest import mock

import numpy as np
import planted
import planted_populations as population
import torch
from factories import make_score
from planted_populations import LOSS, Answers, Floats, Letters, Random, Rates, Sums, lognormal, losses, two_sums
from scipy.stats import norm

from saebench.compare.differences import paired
from saebench.evidence.game import games
from saebench.evidence.game.rungs import Rung
from saebench.metrics import (  # fmt: skip
    context_length,
    distinguishability,
    first_letter,
    marginal_structure,
    reconstruction,
    throughput,
)
from saebench.metrics.absorption import suppression
from saebench.record.score import Estimate
from saebench.stats.statistics import (
    bootstrap,
    honest_rate,
    proportion,
    ratio_of_sums,
    ratio_of_tails,
    resampled_clusters,
)
from saebench.stats.two_way import over_concepts, resampled_concepts


class Interval(Protocol):
    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Case:
    """A kind of interval under some condition."""

    kind: str
    condition: str
    truth: float
    measure: Callable[[Random], Interval]
    cost: int = 1
    """There are so many times fewer simulations."""


def ratio(sums: tuple[Floats, Floats]) -> Estimate:
    return ratio_of_sums(*sums, purpose="simulated")


def tails(sums: tuple[Floats, Floats]) -> Estimate:
    return ratio_of_tails(*sums, purpose="simulated", n_unit="prompt")


def of_documents(n: int) -> Iterator[Case]:
    at = f"{n} documents"
    yield Case("mean loss (kl, kl_inside, kl_beyond)", f"{at}, cv .5", LOSS, lambda rng: ratio(losses(rng, n, 0.5)))
    yield Case("mean loss, heavy tail", f"{at}, cv .95", LOSS, lambda rng: ratio(losses(rng, n, 0.8)))
    yield Case("fvu, recovered", at, 1.0, lambda rng: ratio(two_sums(rng, n, 0.15, 0.13, 0.7)))
    yield Case("kl_retention, fvu_retention", at, 1.0, lambda rng: ratio(two_sums(rng, n, 0.5, 0.5, 0.3)))
    yield Case("ce_increase", f"{at}, cv 3", 0.1, lambda rng: ratio((rng.gamma(1, 0.3, n) - 0.2, np.ones(n))))
    yield Case("cosine", at, 0.95 / (0.95**2 * np.exp(0.0025) + 0.08) ** 0.5, lambda rng: cosine(rng, n))
    for truth in (0.1, 0.0005):
        yield Case("shrinkage", f"{at}, {truth}", truth, lambda rng, truth=truth: shrinkage(rng, n, truth))


def cosine(rng: Random, n: int) -> Estimate:
    signal, gain, noise = lognormal(rng, 0.13, n), 0.95 * lognormal(rng, 0.05, n), 0.08 * lognormal(rng, 0.4, n)
    sums = {"product": gain * signal, "signal": signal, "output": (gain**2 + noise) * signal}
    return bootstrap(sums, lambda s: s["product"] / (s["signal"] * s["output"]) ** 0.5, purpose="simulated")


def shrinkage(rng: Random, n: int, truth: float) -> Estimate:
    product = lognormal(rng, 0.26, n)
    output = product * (1 + truth) * lognormal(rng, 0.011, n)
    trace = planted.make_trace(
        n, 2, 2, signal=torch.tensor(product[:, None]), output=torch.tensor(output[:, None]),
        product=torch.tensor(product[:, None]),
    )  # fmt: skip
    return reconstruction.shrinkage(trace)


def of_prompts() -> Iterator[Case]:
    yield Case("error_pathology_ratio", "48 prompts, cv 1.5", 1.0, lambda rng: tails(two_sums(rng, 48, 1.1, 1.0, 0.9)))
    yield Case("plateau_gap", "48 prompts", 0.6, lambda rng: ratio((rng.beta(3, 2, 48), np.ones(48))))


def concepts(sums: Sums, statistic: Callable[[Sums], Floats]) -> Estimate:
    names = [f"c{i}" for i in range(next(iter(sums.values())).shape[1])]
    return over_concepts(sums, statistic, purpose="simulated", concepts=names)


def rate(sums: Sums, statistic: Callable[[Sums], Floats], base: str) -> Estimate:
    return honest_rate(concepts(sums, statistic), int((sums[base] > 0).sum()))


def of_concepts(n: int) -> Iterator[Case]:
    at = f"{n} concepts"
    letters, statistics = Letters(n, 1.0), (first_letter._f1, first_letter._precision, first_letter._recall)
    for name, statistic in zip(("f1", "precision", "recall"), statistics, strict=True):
        yield Case(name, at, letters.truth(statistic), lambda rng, s=statistic: rate(letters.sums(rng), s, "member"))
    alike = Letters(n, 0.0)
    yield Case(
        "f1", f"{at}, all alike", alike.truth(first_letter._f1),
        lambda rng: rate(alike.sums(rng), first_letter._f1, "member"),
    )  # fmt: skip
    truth = float((1 / (1 + np.exp(-1 - 2.5**0.5 * np.random.default_rng(1).normal(size=4_000_000)))).mean())
    yield Case(
        "recall", f"{at} that share words", truth,
        lambda rng: rate(population.shared_words(rng, n, 10 * n), first_letter._recall, "member"),
    )  # fmt: skip
    for a, b, shape in ((0.8, 0.6, "all or nothing"), (4, 4, "partial")):
        yield Case(
            "suppression_ratio", f"{at}, {shape}", a / (a + b),
            lambda rng, a=a, b=b: concepts(population.suppressed(rng, n, a, b), suppression),
        )  # fmt: skip
    yield Case("split_count", at, 1 / 0.72, lambda rng: ratio((rng.geometric(0.72, n).astype(float), np.ones(n))))


def _mean(s: Sums) -> Floats:
    return s["score"] / s["rows"]


def of_rates(n: int) -> Iterator[Case]:
    rates = {
        "fraction_0_6_0": Rates(n, 0.4, 1, 1.2), "causal_rate": Rates(n, 0.5, 1, 7), "full_rate": Rates(n, 0.75, 1, 9),
        "full_rate, rare": Rates(n, 0.95, 1, 9), "a rate that all share": Rates(n, 0.0, 2000, 38000),
    }  # fmt: skip
    for name, each in rates.items():
        yield Case(
            name, f"{n} concepts, {each.truth:.3g}", each.truth, lambda rng, e=each: rate(e.sums(rng), _mean, "rows")
        )


def of_games(features: int, prompts: int) -> Iterator[Case]:
    spreads = {
        "as measured": (0.1, 0.05, 0.2), "features differ": (0.2, 0.05, 0.1), "prompts differ": (0.05, 0.2, 0.1),
        "noise": (0.0, 0.0, 0.2),
    }  # fmt: skip
    for name, (feature, prompt, both) in spreads.items():
        answers = Answers(features, prompts, 0.1, feature, prompt, both)
        at = f"{features} x {prompts}, {name}"
        yield Case("games.auc", at, answers.auc, lambda rng, a=answers: auc(a.table(rng)), cost=2)
        yield Case("games.difference", at, 0.1, lambda rng, a=answers: games.difference(a.table(rng)))


def auc(table: games.Table) -> Estimate:
    """`games.auc` without its number of games needed, which takes long."""
    resampled = games.resampled_auc(table)
    return Estimate(float(resampled[0]), *games.interval(resampled), games.count(table), "feature")


def of_other_games() -> Iterator[Case]:
    nested = Answers(150, 48, 0.3, 0.8, 0.5, 0.6, nested=True)
    yield Case(
        "games.auc", "150 features, each at one of 48 prompts", nested.auc, lambda rng: auc(nested.table(rng)), 10
    )
    for size in ((16, 4), (40, 16)):
        answers = Answers(*size, 0.1, 0.1, 0.05, 0.2)
        yield Case(
            "games.accuracy", f"{size[0]} x {size[1]}", accuracy(answers),
            lambda rng, a=answers: games.accuracy(a.table(rng)), cost=10,
        )  # fmt: skip
    for name, gaps in (("all alike", [0.05] * 5), ("one is the least", [0.0, 0.15, 0.15, 0.15, 0.15])):
        answers = Answers(40, 16, min(gaps), 0.1, 0.05, 0.2)
        yield Case(
            "distinguishability.auc", f"5 rungs, 40 x 16, {name}", answers.auc,
            lambda rng, a=answers, gaps=gaps: least_auc(a.tables(rng, gaps)), cost=4,
        )  # fmt: skip


def accuracy(answers: Answers, played: int = 400_000) -> float:
    """Share of real ones among the five highest of ten, where every game has features and a prompt of its own."""
    rng, spread = np.random.default_rng(1), (answers.feature**2 + answers.both**2) ** 0.5
    gap = answers.gap + answers.prompt * rng.normal(size=(played, 1))
    values = np.concatenate([spread * rng.normal(size=(played, 5)) + gap, spread * rng.normal(size=(played, 5))], 1)
    return float((values.argsort(axis=1)[:, 5:] < 5).mean())


class Played(Rung):
    """A rung of which nothing is known but the answers."""

    imbalance = None

    def __init__(self, answers: games.Table) -> None:
        object.__setattr__(self, "answers", answers)

    def table(self, *_: Any, **__: Any) -> games.Table:
        return self.answers


def least_auc(tables: list[games.Table]) -> Estimate:
    rungs: Any = {name: Played(table) for name, table in zip(distinguishability.STRICT, tables, strict=True)}
    nothing = np.zeros(0)
    told = mock.patch.object(distinguishability.Lineup, "untold", None)
    with told, mock.patch.object(games, "play", return_value=(nothing, np.ones(1))):  # games that are needed take long
        return distinguishability.auc(
            distinguishability.Lineup(rungs, {}, nothing, nothing, 0.0, (nothing, nothing))
        )  # fmt: skip


def of_controls() -> Iterator[Case]:
    for name, best in (("one is the best", [0.9, 1.3, 2.0]), ("three are alike", [0.9, 0.9, 0.9])):
        yield Case("marginal_structure", f"96 documents, {name}", 1 / 3, lambda rng, b=best: share(rng, b))
    for name, means in (("one is the least", [0.3, 0.7, 0.9, 1.0]), ("all are alike", [0.6] * 4)):
        truth = float(norm.cdf(-max(means) / 2**0.5))
        yield Case("token_entropy", f"350 latents, {name}", truth, lambda rng, m=means: entropy(rng, m), cost=5)


def of_words_and_controls(n: int, kept: float = 0.6) -> Iterator[Case]:
    """A control finds so much of what the SAE does."""
    letters = Letters(n, 1.0)
    own, control = (letters.truth(lambda s, k=k: first_letter._f1(kept_of(s, k))) for k in (1.0, kept))
    yield Case(
        "marginal_structure.first_letter_f1", f"{n} concepts", (own - control) / (1 - control),
        lambda rng: share_of_f1(rng, letters.sums(rng), kept), cost=2,
    )  # fmt: skip


def kept_of(sums: Sums, kept: Any) -> Sums:
    """Without a part of the hits."""
    return {**sums, "hits": sums["hits"] * kept, "said": sums["said"] - sums["hits"] * (1 - kept)}


def share_of_f1(rng: Random, sums: Sums, kept: float) -> Estimate:
    found = kept_of(sums, rng.random(sums["hits"].shape) < kept)
    own, control = (resampled_concepts(each, first_letter._f1, "simulated") for each in (sums, found))
    return marginal_structure.share(own, {"one": control}, 1.0, n=len(own), n_unit="concept", higher=True)


def share(rng: Random, best: list[float]) -> Estimate:
    """Of a mean loss: the SAE's is .6, and how hard a document is, is the same for its controls."""
    hard = lognormal(rng, 0.35, 96)
    own, *controls = (
        resampled_clusters({"score": mean * hard * lognormal(rng, 0.2, 96), "rows": np.ones(96)}, _mean)
        for mean in (0.6, *best)
    )
    rivals = {str(i): values for i, values in enumerate(controls)}
    return marginal_structure.share(own, rivals, 0.0, n=96, n_unit="document", higher=False)


def entropy(rng: Random, means: list[float]) -> Estimate:
    def control(mean: float) -> Any:
        values = mean + rng.normal(size=350)
        return SimpleNamespace(of_model=True, trace=lambda: values)

    own: Any = rng.normal(size=350)
    with mock.patch.object(marginal_structure, "entropies", lambda trace: trace):
        return marginal_structure.token_entropy(own, {str(i): control(mean) for i, mean in enumerate(means)})


def of_the_rest() -> Iterator[Case]:
    beyond = np.arange(255) - 63
    curves = {"a slow rise": 1 + np.maximum(beyond, 0) / 150, "a step": 1.0 + (beyond > 80)}
    for name, curve in curves.items():
        first = next(at for at in range(64, 255, 16) if curve[at : at + 16].mean() > context_length.BREAK)
        yield Case("break_point", f"96 documents, {name}", first, lambda rng, c=curve: breaks(rng, c))
    slow = float(np.median(seconds(np.random.default_rng(1), 2_000_000, 2.0)))
    truth = float(np.median(seconds(np.random.default_rng(2), 2_000_000, 1.0))) / slow
    yield Case(
        "throughput", "30 rounds", truth,
        lambda rng: throughput.relative_speed(seconds(rng, 30, 2.0).tolist(), seconds(rng, 30, 1.0).tolist()),
    )  # fmt: skip


def breaks(rng: Random, curve: Floats) -> Estimate:
    kl = curve * lognormal(rng, 0.45, (96, 1)) * lognormal(rng, 0.8, (96, len(curve)))
    return context_length.break_point(planted.make_trace(96, len(curve), 64, kl=torch.tensor(kl)))


def seconds(rng: Random, rounds: int, mean: float) -> Floats:
    """Rounds of which some are interrupted."""
    return mean * lognormal(rng, 0.03, rounds) * np.where(rng.random(rounds) < 0.05, 1.5, 1.0)


def of_pairs() -> Iterator[Case]:
    for n in (16, 96):
        yield Case("paired difference", f"{n} documents", 0.1 * LOSS, lambda rng, n=n: paired_losses(rng, n))
    for n in (5, 10, 23):
        yield Case("paired difference of f1", f"{n} concepts", 0.0, lambda rng, n=n: paired_f1(rng, n))


def paired_losses(rng: Random, n: int) -> Interval:
    loss, length = losses(rng, n, 0.5)
    own, other = (ratio((factor * loss * lognormal(rng, 0.2, n), length)) for factor in (1.1, 1.0))
    return difference(own, other)


def paired_f1(rng: Random, n: int) -> Interval:
    """Two detectors that find the same concepts hard."""
    sums = Letters(n, 1.0).sums(rng)
    kept = [{**sums, "hits": sums["hits"] * (rng.random(sums["hits"].shape) < 0.9)} for _ in range(2)]
    own, other = (concepts(each, first_letter._f1) for each in kept)
    return difference(own, other)


def difference(own: Estimate, other: Estimate) -> Interval:
    scores = [make_score(value=each.value, half=(each.ci_high - each.ci_low) / 2) for each in (own, other)]
    found = paired(scores[0], scores[1], own.items, other.items)
    assert found is not None
    return found


def of_wrong_intervals() -> Iterator[Case]:
    """What no score has: a harness that finds nothing here finds nothing at all."""
    yield Case("WRONG: tokens for documents", "96 documents", 1.0, lambda rng: of_tokens(population.tokens(rng, 96)))
    letters = Letters(23, 1.0)
    yield Case(
        "WRONG: words for concepts",
        "23 concepts",
        letters.truth(first_letter._recall),
        lambda rng: of_words(letters.sums(rng)),
    )
    answers = Answers(40, 16, 0.1, 0.2, 0.05, 0.1)
    yield Case("WRONG: answers for features", "40 x 16", 0.1, lambda rng: of_answers(answers.table(rng)))


def of_tokens(texts: list[Floats]) -> Estimate:
    every = np.concatenate(texts)
    return _normal(every.mean(), every.std() / len(every) ** 0.5)


def of_words(sums: Sums) -> Estimate:
    member = int(sums["member"].sum())
    return proportion(round(sums["hits"].sum()), member, n_unit="word")


def of_answers(table: games.Table) -> Estimate:
    sides = [side[np.isfinite(side)] for side in (table.real, table.fake)]
    return _normal(sides[0].mean() - sides[1].mean(), sum(side.var() / len(side) for side in sides) ** 0.5)


def _normal(value: float, error: float) -> Estimate:
    return Estimate(float(value), float(value - 1.96 * error), float(value + 1.96 * error), 2, "none")


def cases() -> Iterator[Case]:
    for documents in (16, 96, 384):
        yield from of_documents(documents)
    yield from of_prompts()
    for n in (3, 5, 10, 23):
        yield from of_concepts(n)
        yield from of_rates(n)
    for n in (10, 23):
        yield from of_words_and_controls(n)
    for size in ((16, 4), (40, 16)):
        yield from of_games(*size)
    yield from of_other_games()
    yield from of_controls()
    yield from of_the_rest()
    yield from of_pairs()
    yield from of_wrong_intervals()
