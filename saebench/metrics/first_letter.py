"""Is an SAE's "starts with S" latent a reliable classifier, and how much of what a probe reads do latents hold?

Definitions after Chanin et al. 2024 (arXiv 2409.14507). Latents, splits and thresholds are chosen on words that are
not scored; all values are of test words, the mean over concepts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from saebench.evidence.words.detectors import Detectors, f1_of, find_detectors
from saebench.evidence.words.vocabulary import FEWEST_CONCEPTS, Split
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import DETECTABLE, MDD, Bools, Floats, honest_rate, never_certain, ratio_of_sums, seed_of
from saebench.stats.two_way import over_concepts, resampled_concepts

if TYPE_CHECKING:
    from saebench.evidence.words.study import Probed, Study

PROBE_F1 = 0.6
"""A concept counts only if a probe on the activation itself reaches this F1 on validation words."""
ABOVE_CHANCE = 0.2
"""By how much it must exceed the F1 of always saying yes, which is large for a concept that many words have."""
ONE_SIDED = 0.05
"""Level at which main latents must detect better than random directions."""
WORST_FVU = 1.0
"""An SAE that leaves more of the variance over words unexplained than their mean does is broken for this purpose."""


def readable(study: Probed) -> Bool[np.ndarray, " concept"]:
    """(concept,) whether a probe reads it.

    Raises Unscored where those are too few, or where the SAE does not reconstruct the activations.
    """
    return study.memory.get("readable", lambda: _read(study))


def _read(study: Probed) -> Bools:
    if study.fvu > WORST_FVU:
        raise Unscored(f"at words the SAE has an FVU of {study.fvu:.2f}: predicting their mean is better")
    rows = study.rows(Split.VALIDATION)
    member = study.row_member[rows]
    found, chance = f1_of(study.probe.says(study.x[rows]), member), f1_of(np.ones_like(member), member)
    read: Bools = (found >= PROBE_F1) & (found >= chance + ABOVE_CHANCE)
    if read.sum() < FEWEST_CONCEPTS:
        raise Unscored(
            f"of {len(read)} concepts with enough words a probe reads {read.sum()} with an F1 of {PROBE_F1}: fewer than"
            f" {FEWEST_CONCEPTS}"
        )
    return read


def precision(study: Study, detectors: Detectors) -> Estimate:
    """Share of the words on which the main latent says yes that are of the concept; 0 where it never does."""
    return _score(study, detectors.said[:, :, 0], "first_letter.precision", _precision)


def recall(study: Study, detectors: Detectors) -> Estimate:
    """Share of the concept's words on which the main latent says yes."""
    return _score(study, detectors.said[:, :, 0], "first_letter.recall", _recall)


def f1(study: Study, detectors: Detectors) -> Estimate:
    """F1 of the main latent. The floor is what random directions reach, as many and as sparse as the SAE's latents.

    The control `shuffled` is what the same search finds when words have shuffled concepts.
    """
    estimate = _score(study, detectors.said[:, :, 0], "first_letter.f1", _f1)
    floor = _mean_f1(_sums(study, said_by_random(study)))
    return replace(estimate, floor=floor, controls={**estimate.controls, "shuffled": shuffled_f1(study)})


def said_by_random(study: Study) -> Bool[np.ndarray, "row concept"]:
    """(row, concept) what the main latents among random directions say, chosen as the SAE's are."""
    from saebench.evidence.words.study import random_control

    return study.memory.get(
        "said by random", lambda: find_detectors(random_control(study), largest=1).said[:, :, 0]
    )  # fmt: skip


def check_better_than_random(study: Study, detectors: Detectors) -> None:
    """Raise Unscored unless main latents have a larger F1 than random directions do, at a one-sided level of 5%."""
    study.memory.get(("better than random", detectors), lambda: _compare_with_random(study, detectors))


def _compare_with_random(study: Study, detectors: Detectors) -> None:
    own, random = _sums(study, detectors.said[:, :, 0]), _sums(study, said_by_random(study))
    differences = resampled_concepts(*_subtracted(own, random), "main latents against random directions")
    if np.nanquantile(differences[1:], ONE_SIDED) <= 0:
        raise Unscored(
            f"its main latents detect the concepts with an F1 of {_mean_f1(own):.2f}, and random directions, as many"
            f" and as sparse, with {_mean_f1(random):.2f}: not clearly better, so there is no detector to speak of"
        )


def split_precision(study: Study, detectors: Detectors) -> Estimate:
    """Precision of the k-sparse probe on all latents that the concept is split over."""
    return _score(study, detectors.said_by_split(), "first_letter.split_precision", _precision)


def split_recall(study: Study, detectors: Detectors) -> Estimate:
    """Recall of the k-sparse probe on all latents that the concept is split over."""
    return _score(study, detectors.said_by_split(), "first_letter.split_recall", _recall)


def split_f1(study: Study, detectors: Detectors) -> Estimate:
    """F1 of the k-sparse probe on all latents that the concept is split over."""
    return _score(study, detectors.said_by_split(), "first_letter.split_f1", _f1)


def k_sparse_f1(study: Study, detectors: Detectors) -> Estimate:
    """F1 of the k-sparse probe with the largest k; the items hold the curve from k = 1."""
    estimate = _score(study, detectors.said[:, :, -1], "first_letter.k_sparse_f1", _f1)
    chosen, rows = readable(study), study.rows(Split.TEST)
    curve = [
        f1_of(detectors.said[rows][:, chosen, k], study.row_member[rows][:, chosen]).mean()
        for k in range(detectors.said.shape[2])
    ]
    return replace(estimate, items={**estimate.items, "k": np.arange(1, len(curve) + 1), "f1_by_k": np.array(curve)})


def probe_f1(probed: Probed) -> Estimate:
    """F1 of the logistic probe on the activation itself: what an SAE could reach. It does not depend on the SAE."""
    return _score(probed, probed.probe.says(probed.x), "first_letter.probe_f1", _f1)


def f1_gap(study: Study, detectors: Detectors) -> Estimate:
    """F1 of the probe minus F1 of the main latent, on the same words."""
    own, probe = _sums(study, detectors.said[:, :, 0]), _sums(study, study.probe.says(study.x))
    sums, difference = _subtracted(probe, own)
    return over_concepts(sums, difference, purpose="first_letter.f1_gap", concepts=_names(study), span=(-1.0, 1.0))


def _subtracted(
    better: dict[str, Floats], worse: dict[str, Floats]
) -> tuple[dict[str, Floats], Callable[[dict[str, Floats]], Floats]]:
    """Sums of two detectors over the same words, and the F1 of the one minus that of the other as their statistic."""
    sums = {**better, **{f"worse_{name}": values for name, values in worse.items()}}

    def difference(s: dict[str, Floats]) -> Floats:
        return _f1(s) - _f1({name: s[f"worse_{name}"] for name in worse})

    return sums, difference


def split_count(study: Study, detectors: Detectors) -> Estimate:
    """Number of latents that a concept is split over, by the F1-jump rule on validation words; 1 = not split."""
    chosen = readable(study)
    counts = detectors.split_count[chosen].astype(np.float64)
    estimate = ratio_of_sums(counts, np.ones_like(counts), purpose="first_letter.split_count", n_unit="concept")
    detectable = DETECTABLE * float(counts.std(ddof=1)) / len(counts) ** 0.5
    named = replace(
        estimate, items={"item": np.array(_names(study)), "contribution": counts}, controls={MDD: detectable}
    )
    return never_certain(named, 1.0, estimate.value + 1.0)  # another concept may be split over one latent more


def resampled_f1(study: Study, said: Bool[np.ndarray, "row concept"]) -> Float[np.ndarray, " resample"]:
    """(1 + resample,) mean F1 of what (row, concept) is said, with words and concepts drawn anew."""
    return resampled_concepts(_sums(study, said), _f1, "first_letter.resampled_f1")


def shuffled_f1(study: Study) -> float:
    """Mean F1 that the search for main latents finds on test words when concepts are shuffled among the words."""
    rng = np.random.default_rng(seed_of("first_letter.shuffled"))
    member = study.member.copy()
    for split in Split:
        of_split = np.flatnonzero(study.split == split)
        member[of_split] = member[rng.permutation(of_split)]
    said = find_detectors(study, member, largest=1).said[:, :, 0]
    rows = study.rows(Split.TEST)
    return float(f1_of(said[rows], member[study.word_of][rows])[readable(study)].mean())


def _score(study: Probed, said: Bools, purpose: str, statistic: Callable[[dict[str, Floats]], Floats]) -> Estimate:
    sums = _sums(study, said)
    estimate = over_concepts(sums, statistic, purpose=purpose, concepts=_names(study))
    return honest_rate(estimate, int((sums["member"] > 0).sum()))


def _names(study: Probed) -> list[str]:
    return [name for name, good in zip(study.concepts, readable(study), strict=True) if good]


def _sums(study: Probed, said: Bools) -> dict[str, Floats]:
    """Per test word and concept, over its readings: how often the detector is right, says yes, and should."""
    chosen = readable(study)
    rows = study.rows(Split.TEST)
    said, member = said[rows][:, chosen], study.row_member[rows][:, chosen]
    values = {"hits": said & member, "said": said, "member": member}
    shape = (-1, study.prefixes, int(chosen.sum()))
    return {name: value.reshape(shape).mean(axis=1) for name, value in values.items()}


def _mean_f1(sums: dict[str, Floats]) -> float:
    """Mean over concepts of the F1 on all test words."""
    return float(_f1({name: values.sum(axis=0) for name, values in sums.items()}).mean())


def _precision(s: dict[str, Floats]) -> Floats:
    return np.where(s["said"] > 0, s["hits"] / np.where(s["said"] > 0, s["said"], 1), 0.0)


def _recall(s: dict[str, Floats]) -> Floats:
    return s["hits"] / s["member"]


def _f1(s: dict[str, Floats]) -> Floats:
    return 2 * s["hits"] / (s["said"] + s["member"])
