"""Is a feature made of what its description says?

After Vikram N, "Evaluating the decomposability of SAE features" (2024), whose phrases have no controls. Definitions:

- a *phrase* is about one *subcomponent* of a feature, and never names the feature;
- its *controls* are up to 20 phrases as long as it, of other features and about none of its own feature's subjects;
- a *hit* is an activation, on any token of it but BOS, above a tenth of the latent's own 99th percentile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse

from saebench.evidence.phrases.responses import HIT
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Bools, Floats, Ints, never_certain, proportion, ratio_of_sums, seed_of

if TYPE_CHECKING:
    from saebench.evidence.phrases.bank import Bank
    from saebench.evidence.phrases.decomposed import Decomposed

LEVEL = 0.05
"""How often what is about something else may count as about a subcomponent."""
FEWEST = 8
"""Features with a latent of their own; of fewer no mean is told."""
OTHERS = 10
"""Other features whose phrases each latent is held against."""
WANTED_ERROR = 0.02
KINDS = ("none", "partial", "all")


@dataclass(frozen=True, eq=False)
class Parts:
    """What latents hit: a row for each latent and subcomponent of the feature that it is held against."""

    bank: Bank
    hits: Float[np.ndarray, "latent phrase"]
    feature: Int[np.ndarray, " latent"]
    """(latent,) whose phrases it is held against."""
    besides: Int[np.ndarray, " latent"]
    """(latent,) another feature, whose subjects are no controls either; its own, or the same."""
    controls: sparse.csr_array
    """(phrase, phrase) weights of each phrase's controls."""

    @cached_property
    def place(self) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
        """Latent and subcomponent of each row."""
        latent, part = (self.bank.feature_of_part[None] == self.feature[:, None]).nonzero()
        return latent, part

    @cached_property
    def _mean(self) -> sparse.csr_array:
        """(part, phrase) weights that add up to 1 over each subcomponent's phrases."""
        part = self.bank.part_of
        weight = 1 / np.bincount(part)[part]
        return sparse.csr_array((weight, (part, np.arange(len(part)))))

    @cached_property
    def _rates(self) -> Float[np.ndarray, "latent part"]:
        return np.asarray((self._mean @ self.hits.T).T)

    @cached_property
    def rate(self) -> Float[np.ndarray, " row"]:
        """(row,) share of its phrases that are hit."""
        return np.asarray(self._rates[self.place])

    @cached_property
    def control_rate(self) -> Float[np.ndarray, " row"]:
        """(row,) the same of their controls."""
        return np.asarray((self._mean @ (self.controls @ self.hits.T)).T[self.place])

    @cached_property
    def j(self) -> Float[np.ndarray, " row"]:
        return np.asarray(self.rate - self.control_rate)

    @cached_property
    def _reached(self) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
        """(row,) how many subcomponents of other subjects reach its rate, and how many there are."""
        apart = self.bank.apart[self.feature] & self.bank.apart[self.besides]
        other = np.logical_and.reduceat(apart, np.flatnonzero(np.diff(self.bank.part_of, prepend=-1)), axis=1)
        latent, _ = self.place
        reached = (self._rates[latent] >= self.rate[:, None] - 1e-9) & other[latent]
        return reached.sum(axis=1), other[latent].sum(axis=1)

    @cached_property
    def p(self) -> Float[np.ndarray, " row"]:
        """(row,) how often subcomponents of other subjects reach its rate on the same latent, itself counted among them."""
        reached, count = self._reached
        return np.asarray((1 + reached) / (1 + count))

    @property
    def size(self) -> Int[np.ndarray, " latent"]:
        """(latent,) subcomponents."""
        return np.bincount(self.place[0], minlength=len(self.feature))

    def mean(self, values: Float[np.ndarray, " row"]) -> Float[np.ndarray, " latent"]:
        """(latent,) mean over its subcomponents."""
        return np.asarray(np.bincount(self.place[0], weights=values, minlength=len(self.feature)) / self.size)

    @property
    def covered(self) -> Bool[np.ndarray, " row"]:
        """(row,) whether it is hit more than subcomponents of other subjects are, but for one in twenty."""
        return np.asarray(self.p <= LEVEL)

    @property
    def anything(self) -> Bool[np.ndarray, " latent"]:
        """(latent,) whether any subcomponent is beyond chance, with as many tries as there are (Bonferroni)."""
        return np.asarray(self.mean((self.p <= LEVEL / self.size[self.place[0]]).astype(float)) > 0)

    @property
    def enough(self) -> Bool[np.ndarray, " latent"]:
        """(latent,) whether there are enough other subcomponents for one of its own to be beyond chance."""
        fewest = 1 / (1 + self._reached[1])
        return np.asarray(self.mean((fewest <= LEVEL / self.size[self.place[0]]).astype(float)) == 1)


def parts_of(found: Decomposed, above: float = HIT) -> Parts:
    """Of the SAE's latents. Raises Unscored where too few features have a latent."""
    if len(found.feature) < FEWEST:
        raise Unscored(
            f"{len(found.feature)} of {found.asked} features have a latent that tells them: fewer than {FEWEST}"
        )
    return _parts(found, found.own, above)


def _parts(found: Decomposed, activation: Floats, above: float = HIT) -> Parts:
    return Parts(found.bank, (activation > above).astype(float), found.feature, found.feature, found.controls)


def others_of(found: Decomposed) -> Parts:
    """The same latents, each held against the phrases of up to ten other features: nothing that it is made of."""
    starts = np.flatnonzero(np.diff(found.bank.feature_of, prepend=-1))
    free = np.logical_and.reduceat(found.bank.apart[found.feature], starts, axis=1)
    lot = np.where(free, np.random.default_rng(seed_of("decomposability.others")).random(free.shape), np.inf)
    feature = np.argsort(lot, axis=1)[:, :OTHERS]
    latent, place = np.isfinite(np.take_along_axis(lot, feature, axis=1)).nonzero()
    if not len(latent):
        raise Unscored("the bank has no two features without a common subject")
    hits = (found.own > HIT).astype(float)[latent]
    return Parts(found.bank, hits, feature[latent, place], found.feature[latent], found.controls)


def dense_of(found: Decomposed) -> Parts | None:
    """Every dense latent held against the phrases of every feature that has a latent."""
    if not len(found.dense):
        return None
    hits = np.tile((found.dense > HIT).astype(float), (len(found.feature), 1))
    feature = np.repeat(found.feature, len(found.dense))
    return Parts(found.bank, hits, feature, feature, found.controls)


def _useless(found: Decomposed, value: Callable[[Parts], float]) -> dict[str, float]:
    """What useless latents get: random directions, latents of other features, dense latents where there are any."""
    known = {
        "random_directions": _parts(found, found.random),
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
    for name, those in {"random_directions": _parts(found, found.random), "other_features": others_of(found)}.items():
        controls |= {name: float((kinds(those) == chosen).mean())}
        controls |= {f"{name}_as_published": float((kinds_as_published(those) == chosen).mean())}
    items = {"item": names(found)[kept], "contribution": each.astype(float)}
    return replace(proportion(int(each.sum()), len(each), n_unit="feature"), items=items, controls=controls)


def found_share(found: Decomposed) -> Estimate:
    """Share of the features that were asked about with a latent of their own: F1 of .5 or more on texts that name them.

    The F1 is that of the best of all latents, against texts that name other features; what is scored elsewhere is other
    texts. The floor is the share of features for which a random direction is as good, of as many, as often active.
    """
    estimate = proportion(len(found.feature), found.asked, n_unit="feature")
    return replace(
        estimate, floor=found.random_found, controls={"mean_f1": float(found.f1.mean())} if len(found.f1) else {}
    )


def kinds(parts: Parts) -> Int[np.ndarray, " latent"]:
    """(latent,) index in `KINDS`, by the controls' own distribution."""
    every = parts.mean(parts.covered.astype(float)) == 1
    found: Ints = np.where(parts.anything, np.where(every, 2, 1), 0)
    return found


def kinds_as_published(parts: Parts) -> Int[np.ndarray, " latent"]:
    """(latent,) index in `KINDS`, where any hit counts."""
    share = parts.mean((parts.rate > 0).astype(float))
    found: Ints = np.where(share == 0, 0, np.where(share == 1, 2, 1))
    return found


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
