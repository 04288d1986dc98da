"""Do other latents fire in place of the one that detects a concept? After Chanin et al. 2024 (arXiv 2409.14507).

All values are of test words: the mean over the concepts that pass the gates of `judged`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import NDArray

from saebench.evidence.words import published
from saebench.evidence.words.children import Children, find_children
from saebench.evidence.words.detectors import Detectors, f1_of
from saebench.evidence.words.projected import carrier_columns, project
from saebench.evidence.words.published import Projections
from saebench.evidence.words.vocabulary import FEWEST_CONCEPTS, Split
from saebench.metrics.first_letter import check_better_than_random, readable
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Bools, Floats, honest_rate
from saebench.stats.two_way import over_concepts

if TYPE_CHECKING:
    from saebench.evidence.words.study import Study

MAIN_F1 = 0.5
"""F1 of the main latent on validation words that have no child: with less there is no latent to be absorbed."""
MAIN_RECALL = 0.5
"""The same for its recall."""
CARRIER_COSINE = 0.1
"""Least cosine of a carrier and the probe; .1 as in SAEBench's fraction: below it what a latent writes is hardly the concept's."""
TWIN = 0.9
"""Cosine of decoder rows from which a latent is the main one's copy, and takes no word from it."""
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6)
COSINES = (0.0, 0.025, 0.1, 0.2)

Found = dict[int, tuple[Int[np.ndarray, " _"], Projections]]


def judged(study: Study, detectors: Detectors) -> Bool[np.ndarray, " concept"]:
    """(concept,) where there is a main latent to speak of: one that works where nothing could absorb it.

    Raises Unscored where fewer than three concepts are left, or where main latents detect no better than random
    directions do, so that a useless SAE does not seem free of absorption.
    """
    chosen, rows, children = readable(study), study.rows(Split.VALIDATION), find_children(study, detectors)
    good = np.zeros_like(chosen)
    for concept in np.flatnonzero(chosen).tolist():
        free = rows & ~children[concept].with_child[study.word_of]
        said, member = detectors.said[free, concept, 0], study.row_member[free, concept]
        recall = (said & member).sum() / max(member.sum(), 1)
        good[concept] = f1_of(said, member) >= MAIN_F1 and recall >= MAIN_RECALL
    if good.sum() < FEWEST_CONCEPTS:
        raise Unscored(
            f"{good.sum()} of {chosen.sum()} concepts have a main latent with F1 and recall of {MAIN_F1} on validation"
            f" words: fewer than {FEWEST_CONCEPTS}, so there is nothing that could be absorbed"
        )
    check_better_than_random(study, detectors)
    return good


def suppression_ratio(study: Study, detectors: Detectors) -> Estimate:
    """1 - E[main | a child is on] / E[main | the concept's other words]: 0 = not absorbed, 1 = fully.

    `saebench.evidence.words.children` says what a child is. Negative values are possible: the main latent is then stronger
    where a child is on. Beside it stand `non_hierarchical`, the same for latents that do not imply the concept, and
    `split_as_children`, the same with all latents that the concept is split over counted as children.
    Raises Unscored where fewer than three concepts have a child that is on at a test word.
    """
    chosen = judged(study, detectors)
    names = [name for name, good in zip(study.concepts, chosen, strict=True) if good]
    kept, split_too = (_kept(find_children(study, detectors, split), chosen) for split in (True, False))
    with_child = sum(bool((child.with_child & study.test).any()) for child in kept)
    counted = _mean_suppression(study, [(c.main, c.with_child, c.others) for c in split_too])
    if with_child < FEWEST_CONCEPTS:
        raise Unscored(
            f"{len(kept)} concepts have a main latent, and {with_child} of them a child latent at test words, one that"
            f" is on at a part of the concept's words only: fewer than {FEWEST_CONCEPTS}."
            + ("" if counted is None else f" With latents of the split as children it would be {counted:.2f}")
        )
    pairs = [(child.main, child.with_child, child.others) for child in kept]
    estimate = over_concepts(
        _suppression_sums(study, pairs), suppression, purpose="absorption.suppression_ratio", concepts=names,
        span=(0.0, 1.0),
    )  # fmt: skip
    control = _mean_suppression(study, [(c.main, c.with_control, c.control_others) for c in kept])
    beside = {"non_hierarchical": control, "split_as_children": counted}
    return replace(
        estimate,
        items={**estimate.items, **_distribution(study, kept, names)},
        controls={**estimate.controls, **{name: value for name, value in beside.items() if value is not None}},
    )


def _kept(children: Sequence[Children], chosen: Bools) -> list[Children]:
    return [child for child, good in zip(children, chosen, strict=True) if good]


def suppression(s: dict[str, Float[np.ndarray, "*resample concept"]]) -> Float[np.ndarray, "*resample concept"]:
    """(..., concept) from sums over words: `main_child`, `child`, `main_others`, `others`; NaN where there are none."""
    child = s["main_child"] / np.where(s["child"] > 0, s["child"], np.nan)
    others = s["main_others"] / np.where(s["others"] > 0, s["others"], np.nan)
    return 1 - child / np.where(others > 0, others, np.nan)


def _suppression_sums(study: Study, pairs: list[tuple[Floats, Bools, Bools]]) -> dict[str, Floats]:
    test = study.test
    return {
        "main_child": np.stack([(main * child)[test] for main, child, _ in pairs], axis=1),
        "child": np.stack([child[test] for _, child, _ in pairs], axis=1).astype(np.float64),
        "main_others": np.stack([(main * others)[test] for main, _, others in pairs], axis=1),
        "others": np.stack([others[test] for _, _, others in pairs], axis=1).astype(np.float64),
    }


def _mean_suppression(study: Study, pairs: list[tuple[Floats, Bools, Bools]]) -> float | None:
    """Mean over the concepts that have one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = suppression({name: values.sum(axis=0) for name, values in _suppression_sums(study, pairs).items()})
    found = each[np.isfinite(each)]
    return float(found.mean()) if len(found) else None


def _distribution(study: Study, kept: list[Children], names: list[str]) -> dict[str, NDArray[np.generic]]:
    """The main latent at every test word of every concept: partial absorption is visible in it."""
    test, texts = study.test, np.array(study.words)
    at = [np.flatnonzero(test & (child.with_child | child.others)) for child in kept]
    return {
        "word": np.concatenate([texts[rows] for rows in at]),
        "word_concept": np.repeat(names, [len(rows) for rows in at]),
        "main_activation": np.concatenate([child.main[rows] for child, rows in zip(kept, at, strict=True)]),
        "has_child": np.concatenate([child.with_child[rows] for child, rows in zip(kept, at, strict=True)]),
    }


def full_rate(study: Study, detectors: Detectors) -> Estimate:
    """Share of the words that the probe gets right on which the concept is fully absorbed (SAEBench 0.6.0).

    The items hold the absorbed words with their carriers, and the rate on a grid of the definition's two thresholds,
    whose ends are among the controls.
    """
    found = _of_true_positives(study, detectors)
    estimate = _rate(study, found, published.full_absorption, "absorption.full_rate_0_6_0")
    grid = {(share, cosine): _mean_rate(study, found, share, cosine) for share in SHARES for cosine in COSINES}
    arrays = {
        "grid_share": np.array([share for share, _ in grid]), "grid_cosine": np.array([cosine for _, cosine in grid]),
        "grid_rate": np.array(list(grid.values())),
    }  # fmt: skip
    ends = {"lowest_of_thresholds": min(grid.values()), "highest_of_thresholds": max(grid.values())}
    return replace(
        estimate,
        items={**estimate.items, **arrays, **carriers(study, detectors, found)},
        controls={**estimate.controls, **ends},
    )


def fraction_0_6_0(study: Study, detectors: Detectors) -> Estimate:
    """Mean absorption fraction of the words that the probe gets right, as of SAEBench 0.6.0."""
    found = _of_true_positives(study, detectors)
    return _rate(study, found, published.fraction_0_6_0, "absorption.fraction_0_6_0")


def fraction_0_3_2(study: Study, detectors: Detectors) -> Estimate:
    """Mean absorption fraction of the words that the probe gets right, as of SAEBench 0.3.2."""
    found = _of_true_positives(study, detectors)
    return _rate(study, found, published.fraction_0_3_2, "absorption.fraction_0_3_2")


def recall_hole(study: Study, detectors: Detectors) -> Estimate:
    """Recall of the main latent on words without a carrier minus its recall on words with one.

    A carrier is a latent outside the split whose decoder row has a cosine of at least .1 with the probe and which
    holds at least .4 of the word's projection on the probe, whether or not the main latent is on. A latent that writes
    what the main latent writes (decoder cosine above .9) is its twin and no carrier.
    """
    names, sums = [], []
    for concept in np.flatnonzero(judged(study, detectors)).tolist():
        rows = np.flatnonzero(study.rows(Split.TEST) & study.row_member[:, concept])
        words = project(study, detectors, concept, rows)
        twin = (study.decoder @ study.decoder[detectors.main[concept]]).numpy()[words.latent] > TWIN
        carrier = ~words.is_split & ~twin & (words.cosine >= CARRIER_COSINE)
        held = np.where(carrier, words.value, 0.0).max(axis=1)
        carried = (held >= published.SHARE * words.total) & (words.total > 0)
        hit = detectors.said[rows, concept, 0]
        values = {"hit_free": hit & ~carried, "free": ~carried, "hit_carried": hit & carried, "carried": carried}
        sums.append({name: _per_word(study, rows, value) for name, value in values.items()})
        names.append(study.concepts[concept])
    stacked = {name: np.stack([entry[name] for entry in sums], axis=1) for name in sums[0]}

    def hole(s: dict[str, Floats]) -> Floats:
        return s["hit_free"] / s["free"] - s["hit_carried"] / s["carried"]

    return over_concepts(stacked, hole, purpose="absorption.recall_hole", concepts=names, span=(-1.0, 1.0))


def carriers(study: Study, detectors: Detectors, found: Found) -> dict[str, Shaped[np.ndarray, " row"]]:
    """Absorbed words: which latent fires in place of the main one, how strongly, and how aligned with the probe."""
    columns: dict[str, list[NDArray[np.generic]]] = {}
    for concept, (rows, words) in found.items():
        absorbed = published.full_absorption(words)
        for name, value in carrier_columns(study, detectors, np.full(len(rows), concept), rows, words).items():
            columns.setdefault(name, []).append(value[absorbed])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _of_true_positives(study: Study, detectors: Detectors) -> Found:
    """For every judged concept the test rows that its probe gets right, and their latents on the probe."""
    return study.memory.get(("true positives", detectors), lambda: _find_true_positives(study, detectors))


def _find_true_positives(study: Study, detectors: Detectors) -> Found:
    chosen = judged(study, detectors)
    right = study.rows(Split.TEST)[:, None] & study.row_member & study.probe.says(study.x)
    rows = {int(concept): np.flatnonzero(right[:, concept]) for concept in np.flatnonzero(chosen)}
    found = {concept: (at, project(study, detectors, concept, at)) for concept, at in rows.items() if len(at)}
    if len(found) < FEWEST_CONCEPTS:
        raise Unscored(f"the probe gets test words of {len(found)} concepts right: fewer than {FEWEST_CONCEPTS}")
    return found


def _rate(
    study: Study,
    found: Found,
    score: Callable[[Projections], NDArray[np.generic]],
    purpose: str,
) -> Estimate:
    sums = {
        "score": np.stack([_per_word(study, rows, score(words)) for rows, words in found.values()], axis=1),
        "rows": np.stack([_per_word(study, rows, np.ones(len(rows))) for rows, _ in found.values()], axis=1),
    }
    names = [study.concepts[concept] for concept in found]
    estimate = over_concepts(sums, lambda s: s["score"] / s["rows"], purpose=purpose, concepts=names)
    return honest_rate(estimate, int((sums["rows"] > 0).sum()))


def _mean_rate(study: Study, found: Found, share: float, cosine: float) -> float:
    rates = [published.full_absorption(words, share=share, cosine=cosine).mean() for _, words in found.values()]
    return float(np.mean(rates))


def _per_word(study: Study, rows: NDArray[np.intp], values: NDArray[np.generic]) -> Floats:
    """(test word,) sums of values over some rows."""
    weights = np.asarray(values, dtype=np.float64)
    return np.asarray(np.bincount(study.word_of[rows], weights, len(study.words)).astype(np.float64)[study.test])
