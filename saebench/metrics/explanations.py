"""Does an explanation of a latent predict where it fires, above the floor that any explanation reaches?

Detection and fuzzing after Paulo et al. (arXiv 2410.13928), sensitivity after Tian, Tian and Hu (arXiv 2509.23717). Heap et
al. (arXiv 2501.17727) found fuzzing as good on SAEs of random models (AUROC .87) as on SAEs of trained ones (.79), which
is why the floor is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import never_certain, ratio_of_sums

if TYPE_CHECKING:
    from saebench.evidence.judged import Judged, Likeness

CONSTANT = 0.5
"""Balanced accuracy, and AUROC, of whoever always gives the same answer."""
FEWEST = 5
"""Latents that the judge must have answered about."""
YES = 0.5
"""Above it an answer is yes."""
Answers = Float[np.ndarray, "latent text"]
Truth = Bool[np.ndarray, "latent text"]


def detection(detected: Judged) -> Estimate:
    """Balanced accuracy of telling texts in which a latent fires from others by its explanation, mean over latents.

    A latent is explained from ten of its strongest texts and five that are drawn by activation, and judged on four other
    such texts and on ten in which it is inactive. The floor is the largest of: a constant answer (.5), the explanation of
    another latent, and the same for an SAE of the model with random weights, where there is one. The interval is over
    latents that were drawn. Raises Unscored where the judge answered about fewer than five.
    """
    return _above_floor(detected, balanced(detected.own, detected.truth), "explanations.detection")


def detection_auroc(detected: Judged) -> Estimate:
    """AUROC of telling texts in which a latent fires from others by its explanation, mean over latents.

    As `explanations.detection`, but of how likely the judge holds each text, wherever it would put a threshold.
    """
    return _above_floor(detected, auroc(detected.own, detected.truth), "explanations.detection_auroc")


def fuzzing(fuzzed: Judged) -> Estimate:
    """Balanced accuracy of telling the tokens on which a latent fires from others of the same text, mean over latents.

    Four texts in which the latent fires, none of which was shown for the explanation, are given twice: with the right
    tokens marked, and with as many that it is inactive on. The text itself therefore tells nothing. The floor is the
    largest of a constant answer (.5), another latent's explanation, and the same on the model with random weights. Random
    directions are as good at it as trained SAEs on the embedded model (.67 each), so that nothing is ranked by it.
    """
    return _above_floor(fuzzed, balanced(fuzzed.own, fuzzed.truth), "explanations.fuzzing")


def sensitivity(likeness: Likeness) -> Estimate:
    """Share of new texts like a latent's own in which it fires, mean over latents; the floor is that of another's texts.

    The texts are written by the judge after those that are shown for an explanation (no explanation has a part in it), or
    on the embedded model those of new documents of the world that contain the concept that explains the latent. A
    description that is too broad has a low share, and a latent that fires everywhere a high one and a high floor.
    """
    has = np.isfinite(likeness.own) & np.isfinite(likeness.other)
    _check_enough(has, "has new texts")
    own, other = likeness.own[has], likeness.other[has]
    found = _mean(own, "explanations.sensitivity")
    items = {"latent": likeness.latents[has], "score": own, "score_of_another": other}
    controls = {"another_latents_texts": float(other.mean()), "without_texts": float((~has).sum())}
    return replace(found, items=items, floor=float(other.mean()), ceiling=1.0, controls=controls)


def balanced(answers: Answers, truth: Truth) -> Float[np.ndarray, " latent"]:
    """Mean of the shares of right answers where the truth is yes and where it is no; NaN where an answer lacks."""
    said = answers > YES
    hits, passes = (
        (side & truth_).sum(axis=1) / truth_.sum(axis=1) for side, truth_ in ((said, truth), (~said, ~truth))
    )
    return np.where(np.isfinite(answers).all(axis=1), (hits + passes) / 2, np.nan)


def auroc(answers: Answers, truth: Truth) -> Float[np.ndarray, " latent"]:
    """Share of pairs of a yes and a no in which the yes has the larger answer; ties are half. NaN where an answer lacks."""
    pairs = truth[:, :, None] & ~truth[:, None]
    above = (answers[:, :, None] > answers[:, None]) + 0.5 * (answers[:, :, None] == answers[:, None])
    found = (above * pairs).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))
    return np.where(np.isfinite(answers).all(axis=1), found, np.nan)


def _above_floor(judged: Judged, own: Float[np.ndarray, " latent"], purpose: str) -> Estimate:
    """Mean over latents, with the largest control as its floor."""
    has = np.isfinite(own)
    _check_enough(has, "is explained and judged")
    score = auroc if purpose.endswith("auroc") else balanced
    controls = {"constant_answer": CONSTANT, **_controls(judged, score)}
    found = never_certain(_mean(own[has], purpose), 0.0, 1.0)
    told = {
        "unanswered": float((~has).sum()),
        "too_rare": float(judged.asked.rare),
        "too_dense": float(judged.asked.dense),
    }
    return replace(
        found, items=_items(judged, own, has), floor=max(controls.values()), ceiling=1.0, controls=controls | told
    )


def _controls(judged: Judged, score: Callable[..., Float[np.ndarray, " latent"]]) -> dict[str, float]:
    random = judged.random_model
    sides = {
        "another_explanation": (judged.other, judged.truth),
        **({"random_model": (random.own, random.truth)} if random is not None else {}),
    }
    each = {name: score(*side) for name, side in sides.items()}
    return {name: float(np.nanmean(found)) for name, found in each.items() if np.isfinite(found).sum() >= FEWEST}


def _mean(each: Float[np.ndarray, " latent"], purpose: str) -> Estimate:
    return ratio_of_sums(each, np.ones_like(each), purpose=purpose, n_unit="latent")


def _items(
    judged: Judged, own: Float[np.ndarray, " latent"], has: Bool[np.ndarray, " latent"]
) -> dict[str, np.ndarray]:
    """What was asked and answered. There is nothing to pair two SAEs by: latents of one are none of the other's."""
    said = np.array([text or "" for text in judged.explanations], dtype=str)
    texts = np.array([text for latent in judged.texts for text in latent], dtype=str).reshape(judged.truth.shape)
    return {
        "latent": judged.latents[has], "explanation": said[has], "score": own[has], "text": texts[has].ravel(),
        "truth": judged.truth[has].ravel(), "answer": judged.own[has].ravel(),
    }  # fmt: skip


def _check_enough(has: Bool[np.ndarray, " latent"], what: str) -> None:
    if has.sum() < FEWEST:
        raise Unscored(f"of {len(has)} latents {has.sum()} {what}: fewer than {FEWEST}")
