"""The game: 5 real features and 5 made-up ones at one prompt. Which are real?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import CONFIDENCE, RESAMPLES, Floats, Ints, never_certain, seed_of, times_drawn
from saebench.stats.two_way import pigeonhole, two_way

SIDE = 5
"""Features on each side of a game."""
GAMES = 20_000
"""Single games that accuracies are counted over."""
GAMES_PER_RESAMPLE = 100
"""The same in every resample of prompts and features."""
HALF_WIDTH = 0.05
"""What `games_needed` is about: half of the 95% interval of an AUC."""
CHUNK = 250


@dataclass(frozen=True)
class Table:
    """One number per direction and prompt, higher for what should be real. NaN stands for what is not asked.

    A fake has the id of the feature that it was matched to, so that the two are drawn together.
    """

    real: Float[np.ndarray, "prompt slot"]
    fake: Float[np.ndarray, "prompt fake_slot"]
    real_id: Int[np.ndarray, "prompt slot"]
    """Which feature it is."""
    fake_id: Int[np.ndarray, "prompt fake_slot"]

    def swapped(self) -> Table:
        return Table(self.fake, self.real, self.fake_id, self.real_id)


@dataclass(frozen=True)
class Draws:
    """How often each prompt and each feature is drawn; the first time, once."""

    prompts: Float[np.ndarray, "resample prompt"]
    features: Float[np.ndarray, "resample feature"]


def draws(prompts: int, features: int) -> Draws:
    """Two-way cluster ("pigeonhole") bootstrap weights; row 0 is the sample itself. All tables share the prompts'."""
    return Draws(
        times_drawn(prompts, "games.prompts", RESAMPLES), times_drawn(features, "games.features", RESAMPLES)
    )  # fmt: skip


def resampled_auc(table: Table) -> Float[np.ndarray, " resample"]:
    """(1 + resample,) AUC of real against fake within prompts, averaged over prompts; the first is that of the sample.

    It is what the AUC of 5-against-5 games tends to when all of them are played. Ties count one half.
    """
    beats, valid = _wins(table)
    drawn = draws(len(table.real), _features(table))
    parts = []
    for start in range(0, len(drawn.prompts), CHUNK):
        rows = slice(start, start + CHUNK)
        real, fake = (drawn.features[rows][:, ids] for ids in (table.real_id, table.fake_id))
        won, asked = (np.einsum("bpi,pij,bpj->bp", real, m, fake, optimize=True) for m in (beats, valid))
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(won / asked)
    return _over_prompts(np.concatenate(parts), count(table))


def point_auc(table: Table) -> float:
    """The same of the sample alone; NaN where nothing was asked."""
    beats, valid = (each.sum(axis=(1, 2)) for each in _wins(table))
    return float((beats[valid > 0] / valid[valid > 0]).mean()) if valid.any() else float("nan")


def _wins(table: Table) -> tuple[Floats, Floats]:
    """(prompt, real, fake) 1 where the real one has the higher number, 1/2 for a tie; and where both are known."""
    real, fake = table.real[:, :, None], table.fake[:, None, :]
    valid = np.isfinite(real) & np.isfinite(fake)
    beats = np.where(valid, (real > fake) + 0.5 * (real == fake), 0.0)
    return beats, valid.astype(np.float64)


def interval(resampled: Float[np.ndarray, " resample"]) -> tuple[float, float]:
    """Percentile interval of resamples of a score, of which the first is the score itself."""
    finite = resampled[1:][np.isfinite(resampled[1:])]
    if not np.isfinite(resampled[0]) or len(finite) < RESAMPLES / 2:
        raise Unscored("too few features and prompts for an interval")
    low, high = (float(end) for end in np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    return min(low, float(resampled[0])), max(high, float(resampled[0]))


def auc(table: Table) -> Estimate:
    """AUC of real against fake with its interval over features and prompts; .5 is chance.

    `games_needed` is the number of games, each with features and a prompt of its own, after which the interval would
    be ±.05.
    """
    resampled = resampled_auc(table)
    low, high = interval(resampled)
    _, single = play(table, GAMES, seed_of("games.needed"))
    needed = (1.96 * float(single.std()) / HALF_WIDTH) ** 2
    estimate = Estimate(
        float(resampled[0]), low, high, count(table), "feature", floor=0.5, ceiling=1.0,
        controls={"games_needed": float(np.ceil(needed)), "prompts": float(asked_prompts(table).sum())},
    )  # fmt: skip
    return never_certain(estimate, 0.0, 1.0)


def accuracy(table: Table) -> Estimate:
    """Share of real ones among the five of ten that are picked for their numbers; .5 is chance.

    Features and prompts are drawn anew for the interval, and games anew within them.
    """
    picked, _ = play(table, GAMES, seed_of("games.accuracy"))
    means = _resampled_accuracy(table)
    low, high = interval(np.concatenate([[picked.mean()], means]))
    estimate = Estimate(float(picked.mean()), low, high, count(table), "feature", floor=0.5, ceiling=1.0)
    return never_certain(estimate, 0.0, 1.0)


def _features(table: Table) -> int:
    """Ids that features may have. Raises Unscored where there are fewer than two, which have no interval."""
    if count(table) < 2 or not table.fake.size:
        raise Unscored("there are fewer than two features with answers")
    return int(max(table.real_id.max(), table.fake_id.max())) + 1


def count(table: Table) -> int:
    """Features that are asked about at least once."""
    return len(np.unique(table.real_id[np.isfinite(table.real)]))


def asked_prompts(table: Table) -> Bool[np.ndarray, " prompt"]:
    """(prompt,) whether there are real and fake ones with answers."""
    return np.asarray(np.isfinite(table.real).any(1) & np.isfinite(table.fake).any(1))


def play(table: Table, games: int, seed: int) -> tuple[Float[np.ndarray, " {games}"], Float[np.ndarray, " {games}"]]:
    """(game,) accuracy of the pick and AUC of single games; five features are drawn on each side, with replacement."""
    rng = np.random.default_rng(seed)
    prompts = np.flatnonzero(asked_prompts(table))
    if not len(prompts):
        raise Unscored("there is no prompt with real and fake directions")
    return _outcome(table, rng.choice(prompts, games), rng)


def _outcome(table: Table, prompt: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    real, fake = (_drawn(side[prompt], rng) for side in (table.real, table.fake))
    wins = (real[:, :, None] > fake[:, None, :]) + 0.5 * (real[:, :, None] == fake[:, None, :])
    return _picked(real, fake, rng), wins.mean(axis=(1, 2))


def _drawn(values: Floats, rng: np.random.Generator, weight: Floats | None = None) -> Floats:
    """(game, 5) known values of rows (game, slot), with chances in proportion to their weights."""
    keys = rng.random((len(values), SIDE, values.shape[1]))
    if weight is not None:  # the largest of log(u) / w is any slot's with a chance in proportion to its w
        with np.errstate(divide="ignore"):
            keys = np.exp(np.log(keys) / weight[:, None, :])
    keys = np.where(np.isfinite(values)[:, None, :], keys, -1.0)
    return np.take_along_axis(values, keys.argmax(axis=2), axis=1)


def _resampled_accuracy(table: Table) -> Floats:
    """(resample,) mean accuracy with prompts and features drawn anew."""
    features = _features(table)
    drawn = draws(len(table.real), features)
    rng = np.random.default_rng(seed_of("games.resampled_accuracy"))
    usable = asked_prompts(table)
    found = np.full(RESAMPLES, np.nan)
    for b in range(RESAMPLES):
        weights = drawn.prompts[b + 1] * usable
        if weights.sum() == 0:
            continue
        prompt = rng.choice(len(weights), GAMES_PER_RESAMPLE, p=weights / weights.sum())
        weight = [drawn.features[b + 1][ids][prompt] for ids in (table.real_id, table.fake_id)]
        values = [
            np.where(w > 0, side[prompt], np.nan) for side, w in zip((table.real, table.fake), weight, strict=True)
        ]
        whole = np.isfinite(values[0]).any(1) & np.isfinite(values[1]).any(1)
        if whole.any():
            sides = [_drawn(side[whole], rng, w[whole]) for side, w in zip(values, weight, strict=True)]
            found[b] = _picked(sides[0], sides[1], rng).mean()
    return found


def _picked(real: Floats, fake: Floats, rng: np.random.Generator) -> Floats:
    """(game,) share of real ones among the five with the highest numbers; ties are broken at random."""
    both = np.concatenate([real, fake], axis=1)
    order = np.lexsort((rng.random(both.shape), -both), axis=1)[:, :SIDE]
    return np.asarray((order < SIDE).mean(axis=1))


def difference(table: Table, span: float = 1.0) -> Estimate:
    """Mean over prompts of mean(real) - mean(fake), with its interval over features and prompts.

    `span` is how far it may be from 0.
    """
    n = _features(table)
    each = [_resampled_means(side, ids, n) for side, ids in ((table.real, table.real_id), (table.fake, table.fake_id))]
    resampled = _over_prompts(each[0] - each[1], count(table))
    low, high = interval(resampled)
    estimate = Estimate(float(resampled[0]), low, high, count(table), "feature", floor=0.0)
    return never_certain(estimate, -span, span)


def resampled_mean(
    values: Float[np.ndarray, "prompt slot"], ids: Int[np.ndarray, "prompt slot"]
) -> Float[np.ndarray, " resample"]:
    """(1 + resample,) mean over prompts of the mean of values (prompt, slot); the first is that of the sample."""
    return _over_prompts(_resampled_means(values, ids, int(ids.max()) + 1), int(ids.max()) + 1)


def _resampled_means(side: Floats, ids: Ints, features: int) -> Floats:
    """(1 + resample, prompt) mean over slots with features drawn anew."""
    drawn = draws(len(side), features).features
    known, values = np.isfinite(side), np.nan_to_num(side, posinf=0.0, neginf=0.0)
    chunks = [drawn[i : i + CHUNK][:, ids] * known for i in range(0, len(drawn), CHUNK)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([(w * values).sum(2) / w.sum(2) for w in chunks])


def _over_prompts(each: Floats, features: int) -> Floats:
    """(1 + resample,) mean over prompts, drawn anew, of values (1 + resample, prompt) with features drawn anew."""
    prompts = draws(each.shape[1], 1).prompts
    return two_way(pigeonhole(each, prompts), each, prompts, features)
