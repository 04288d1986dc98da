"""Is a feature made of what its description says?

After an experiment of Vikram N on SAEs of Gemma 2 (2024), whose phrases have no controls. Definitions:

- a *phrase* is about one *subcomponent* of a feature, and never names the feature;
- its *controls* are up to 20 phrases as long as it, of other features and about none of its own feature's subjects;
- a *hit* is an activation, on any token of it but BOS, above a tenth of the latent's own 99th percentile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from saebench.evidence.phrases.bank import HIT
from saebench.metrics.subcomponents import (
    FEWEST,
    KINDS,
    Parts,
    dense_of,
    kinds,
    kinds_as_published,
    others_of,
    parts_of,
    parts_with,
)
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Bools, Floats, never_certain, proportion, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.phrases.decomposed import Decomposed

WANTED_ERROR = 0.02


def _useless(found: Decomposed, value: Callable[[Parts], float]) -> dict[str, float]:
    """What useless latents get: random directions, latents of other features, dense latents where there are any."""
    known = {
        "random_directions": parts_with(found, found.random),
        "other_features": others_of(found),
        "dense_latents": dense_of(found),
    }
    return {name: value(parts) for name, parts in known.items() if parts is not None}


def j(found: Decomposed) -> Estimate:
    """Share of a feature's phrases that its latent is active on, minus that of their controls: 1 = all and nothing else.

    Phrases are about subcomponents of the feature and never name it; controls are phrases of other subjects, of the same
    length. A latent is active on a phrase if it exceeds a tenth of its own 99th percentile on any token of it. Mean over
    a feature's subcomponents, then over features. The floor is the highest of what random directions, the phrases of
    other features and dense latents reach. Raises Unscored where fewer than 8 features have a latent of their own.
    After Vikram N (2024), who has no controls; Youden's J.
    """
    parts = parts_of(found)
    each = parts.mean(parts.j)
    useless = _useless(found, lambda those: float(those.mean(those.j).mean()))
    controls = {**useless, **_rates(found, parts), **_precision(found, parts, each)}
    estimate = _mean(found, each, "decomposability.j", (-1.0, 1.0), controls)
    return replace(estimate, floor=max(useless.values()), items={**estimate.items, **listed(found, parts)})


def coverage(found: Decomposed) -> Estimate:
    """Share of a feature's subcomponents that its latent is active on more than on all but 5% of other subjects'.

    Each subcomponent's share of active phrases is held against those of all subcomponents of other features, on the same
    latent. Mean over features; a latent that has nothing to do with its feature gets .05 or less. The floor is the
    highest of what random directions, the phrases of other features and dense latents reach. `any_phrase` is the share
    as it was published: subcomponents with any phrase that the latent is active on, without controls. Raises Unscored
    where fewer than 8 features have a latent of their own.
    """
    parts = parts_of(found)
    useless = _useless(found, lambda those: float(those.mean(those.covered.astype(float)).mean()))
    controls = {**useless, "any_phrase": float(parts.mean((parts.rate > 0).astype(float)).mean())}
    each = parts.mean(parts.covered.astype(float))
    return replace(_mean(found, each, "decomposability.coverage", (0.0, 1.0), controls), floor=max(useless.values()))


def evenness(found: Decomposed) -> Estimate:
    """How evenly a feature's latent is active on its subcomponents: entropy of their J over that of equal ones; 0 = one alone.

    J is the share of active phrases minus that of controls, where positive. Mean over features with a subcomponent
    beyond chance; raises Unscored where those are fewer than 8. Neither end is good: a feature may well be one thing.
    """
    parts = parts_of(found)
    kept = parts.anything
    if kept.sum() < FEWEST:
        raise Unscored(f"{kept.sum()} features have a subcomponent beyond chance: fewer than {FEWEST}")
    positive = np.maximum(parts.j, 0)
    share = positive / np.maximum(parts.mean(positive) * parts.size, 1e-30)[parts.place[0]]
    bits = -share * np.log(np.maximum(share, 1e-30))
    each = parts.mean(bits) * parts.size / np.log(parts.size)
    return _mean(found, each, "decomposability.evenness", (0.0, 1.0), {}, kept)


def kind_share(found: Decomposed, kind: str) -> Estimate:
    """Share of features of which `none`, a part (`partial`), or `all` subcomponents are what the latent is active on.

    None: no subcomponent is beyond what 5% of meaningless features reach by chance, with as many tries as there are
    subcomponents. All: each is beyond what 5% of other subjects' subcomponents reach. `as_published` is the share without
    controls, where one active phrase is enough; `random_directions` and `other_features` are of useless latents, with
    controls, `…_as_published` without. Raises Unscored where fewer than 8 features have a latent of their own and a bank
    that is large enough to tell.
    """
    parts = parts_of(found)
    if (kept := parts.enough).sum() < FEWEST:
        raise Unscored("the bank is too small: no subcomponent could be beyond what 5% of meaningless features reach")
    chosen = KINDS.index(kind)
    each = kinds(parts)[kept] == chosen
    controls = {"as_published": float((kinds_as_published(parts)[kept] == chosen).mean())}
    for name, those in {
        "random_directions": parts_with(found, found.random),
        "other_features": others_of(found),
    }.items():
        controls |= {name: float((kinds(those) == chosen).mean())}
        controls |= {f"{name}_as_published": float((kinds_as_published(those) == chosen).mean())}
    items = {"item": names(found)[kept], "contribution": each.astype(float)}
    return replace(proportion(int(each.sum()), len(each), n_unit="feature"), items=items, controls=controls)


def found_share(found: Decomposed) -> Estimate:
    """Share of the features that were asked about with a latent of their own: F1 of .5 or more on texts that name them.

    The F1 is that of the best of all latents, against texts that name other features; what is scored elsewhere is other
    texts. The floor is the share of features for which a random direction is as good, of as many, as often active: a word
    that names a feature is easily told, so that random directions may find all of them, and more is not better.
    """
    estimate = proportion(len(found.feature), found.asked, n_unit="feature")
    return replace(
        estimate, floor=found.random_found, controls={"mean_f1": float(found.f1.mean())} if len(found.f1) else {}
    )


def names(found: Decomposed) -> Shaped[np.ndarray, " latent"]:
    """(latent,) names of features; with the latent's index where several latents are of one feature."""
    plain = np.array([found.bank.features[i].name for i in found.feature], dtype=str)
    several = np.bincount(found.feature)[found.feature] > 1
    numbered = np.array(
        [f"{name}, latent {latent}" for name, latent in zip(plain, found.latent, strict=True)], dtype=str
    )
    return np.where(several, numbered, plain)


def _mean(
    found: Decomposed, each: Floats, purpose: str, span: tuple[float, float], controls: dict[str, float],
    kept: Bools | None = None,
) -> Estimate:  # fmt: skip
    """Mean over features, and its interval over them."""
    chosen = np.ones(len(each), dtype=bool) if kept is None else kept
    values = each[chosen]
    estimate = ratio_of_sums(values, np.ones_like(values), purpose=purpose, n_unit="feature")
    items = {"item": names(found)[chosen], "contribution": values}
    low, high = max(estimate.ci_low, span[0]), min(estimate.ci_high, span[1])
    return never_certain(replace(estimate, ci_low=low, ci_high=high, items=items, controls=controls), *span)


def _rates(found: Decomposed, parts: Parts) -> dict[str, float]:
    """What J is made of, near misses, and J with hits above nothing, and above half of the 99th percentile."""
    rates = {"hit_rate": float(parts.rate.mean()), "control_rate": float(parts.control_rate.mean())}
    own = found.feature[:, None] == found.bank.near_of[None]
    if own.any():
        rates["near_miss_rate"] = float((found.near > HIT)[own].mean())
    for name, above in {"j_at_any_activation": 0.0, "j_at_half": 0.5}.items():
        other = parts_of(found, above)
        rates[name] = float(other.mean(other.j).mean())
    return rates


def _precision(found: Decomposed, parts: Parts, each: Floats) -> dict[str, float]:
    """How many features a standard error of .02 needs, and the share of all variance of hits that is between features."""
    own = found.feature[:, None] == found.bank.feature_of[None]
    count = own.sum(axis=1)
    rate = (parts.hits * own).sum(axis=1) / count
    within = float((rate * (1 - rate) * count / (count - 1)).mean())
    between = max(float(rate.var(ddof=1)) - within / float(count.mean()), 0.0)
    needed = {"features_for_se_of_0.02": float(np.ceil(each.var(ddof=1) / WANTED_ERROR**2))}
    shares = {"variance_between_features": between / (between + within)} if between + within > 0 else {}
    asked = {"found": len(found.feature) / found.asked, "distinct_latents": float(len(np.unique(found.latent)))}
    return {**needed, **shares, **asked}


def listed(found: Decomposed, parts: Parts) -> dict[str, Shaped[np.ndarray, " row"]]:
    """(row,) all that a reader needs: each latent's subcomponents, their rates beside controls, and which phrases are hit."""
    latent, part = parts.place
    start = np.append(np.flatnonzero(np.diff(found.bank.part_of, prepend=-1)), len(found.bank.part_of))
    told = [
        "\n".join(("+ " if hit else "- ") + found.bank.phrases[i].text.strip().replace("\n", " / ") for i, hit in some)
        for row, one in zip(latent, part, strict=True)
        for some in [[(i, parts.hits[row, i] > 0) for i in range(start[one], start[one + 1])]]
    ]
    return {
        "feature": names(found)[latent], "latent": found.latent[latent], "f1": found.f1[latent],
        "subcomponent": np.array([found.bank.part_names[one][1] for one in part]), "rate": parts.rate,
        "control_rate": parts.control_rate, "chance": parts.p, "phrases": np.array(told),
        "class": np.array(KINDS)[kinds(parts)][latent],
    }  # fmt: skip
