"""How much of a score is there beyond what controls reach that learned nothing of the model?

After Heap et al. (arXiv 2501.17727) and Korznikov et al. (arXiv 2602.14111): on the usual metrics SAEs of random models,
and SAEs with directions that were never learned, look much like real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from saebench.evidence.token_entropy import entropies
from saebench.metrics import context_length, first_letter, reconstruction
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import CONFIDENCE, RESAMPLES, Floats, least, resampled_clusters, seed_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saebench.evidence.trace import Rebuilt, Trace
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.study import Study

DENSER = 1.1
"""A control competes only if it has at most this many times the active latents of the SAE."""
CHUNK = 100
SUMS = ("numerator", "denominator", "product", "signal", "output")
"""Sums per document that estimates of traces keep."""
Resampled = Mapping[str, Float[np.ndarray, " resample"] | Unscored]


@dataclass(frozen=True)
class Quantity:
    """A score of a trace that can be compared with that of a control, document by document."""

    of: Callable[[Any], Estimate]
    ceiling: float
    models: bool
    """Whether it is of reconstructions alone, and means the same in a model with random weights."""
    statistic: Callable[[dict[str, Float[np.ndarray, " resample"]]], Float[np.ndarray, " resample"]] = lambda s: (
        s["numerator"] / s["denominator"]
    )

    def resampled(self, trace: Rebuilt) -> Float[np.ndarray, " resample"]:
        """(1 + resample,) the score with documents drawn anew; the first is the score itself."""
        items = self.of(trace).items
        return resampled_clusters({name: items[name] for name in SUMS if name in items}, self.statistic)


QUANTITIES: dict[str, Quantity] = {
    "fvu": Quantity(reconstruction.fvu, 0.0, models=True),
    "cosine": Quantity(
        reconstruction.cosine, 1.0, models=True, statistic=lambda s: s["product"] / (s["signal"] * s["output"]) ** 0.5
    ),
    "kl": Quantity(reconstruction.kl, 0.0, models=False),
    "ce_increase": Quantity(reconstruction.ce_increase, 0.0, models=False),
    "recovered_zero": Quantity(lambda trace: reconstruction.loss_recovered(trace, "zero"), 1.0, models=False),
    "recovered_mean": Quantity(lambda trace: reconstruction.loss_recovered(trace, "mean"), 1.0, models=False),
    "kl_retention": Quantity(context_length.kl_retention, 1.0, models=False),
    "fvu_retention": Quantity(context_length.fvu_retention, 1.0, models=False),
}


def share(
    own: Float[np.ndarray, " resample"], controls: Resampled, ceiling: float, *, n: int, n_unit: str, higher: bool
) -> Estimate:
    """(score - best control) / (ceiling - best control): 0 = nothing beyond a control, 1 = perfect; negative is worse.

    That one of the controls is the best by chance is in the interval (`statistics.least`); the luck of a control's
    initialisation is not. `own` and the controls are resampled alike. Raises Unscored where no control has a score, or
    where one reaches the ceiling.
    """
    scored = {name: values for name, values in controls.items() if not isinstance(values, Unscored)}
    if not scored:
        raise Unscored(f"no control has a score: {_reasons(controls)}")
    best = (np.fmax if higher else np.fmin).reduce(list(scored.values()))
    room = (ceiling - best) if higher else (best - ceiling)
    if np.isfinite(room).any() and np.nanquantile(room, (1 - CONFIDENCE) / 2) <= 1e-9:
        name = min(scored, key=lambda key: abs(scored[key][0] - ceiling))
        raise Unscored(f"within noise {name} reaches the ceiling, {ceiling:g}: there is no room above the best control")
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.stack([(own - values) / (ceiling - values) for values in scored.values()])
    each = each[np.isfinite(each[:, 0])]  # against the best control it is the least of what it is against any
    if not len(each) or np.isfinite(each[:, 1:]).all(axis=0).sum() < RESAMPLES / 2:
        raise Unscored("it is not defined on most resamples")
    low, high = least(each)
    values = {name: float(values[0]) for name, values in scored.items()}
    return Estimate(
        float(each[:, 0].min()), low, high, n, n_unit, floor=0.0, ceiling=1.0,
        controls={"score": float(own[0]), "best_control": float(best[0]), "score_ceiling": ceiling, **values},
    )  # fmt: skip


def _reasons(controls: Resampled) -> str:
    names: dict[str, list[str]] = {}
    for name, found in controls.items():
        if isinstance(found, Unscored):
            names.setdefault(found.reason, []).append(name)
    return "; ".join(f"{', '.join(those)}: {reason}" for reason, those in names.items()) or "there is none"


@dataclass(frozen=True)
class Control:
    """A control SAE, measured like the real one, where it could be made."""

    rebuilt: Callable[[], Rebuilt]
    trace: Callable[[], Trace]
    words: Callable[[], tuple[Study, Detectors]]
    trained: bool
    """With the same effort as a real SAE."""
    of_model: bool
    """In a model with random weights, rather than in the real one."""
    decoder_only: bool = False
    """Its latents are the real SAE's, so that what they detect is no control."""


def of_trace(name: str, trace: Trace, controls: Mapping[str, Control]) -> Estimate:
    """(score - best control) / (ceiling - best control): 0 = nothing beyond a control that learned nothing, 1 = perfect.

    `name` is one of `QUANTITIES`; the interval is over documents.
    """
    quantity = QUANTITIES[name]
    estimate = quantity.of(trace)
    rivals = {key: control for key, control in controls.items() if quantity.models or not control.of_model}
    found = _measured(rivals, lambda control: _if_as_sparse(quantity, control, trace))
    return share(
        quantity.resampled(trace), found, quantity.ceiling, n=estimate.n, n_unit=estimate.n_unit,
        higher=quantity.ceiling > 0,
    )  # fmt: skip


def _if_as_sparse(quantity: Quantity, control: Control, own: Trace) -> Floats:
    """The control's score, if it is as sparse as the SAE; the model runs only where it is, and where it has to."""
    rebuilt = control.rebuilt()
    l0, limit = (reconstruction.l0(t).value for t in (rebuilt, own))
    if l0 > DENSER * limit:
        raise Unscored(f"it has {l0:.0f} active latents, the SAE {limit:.0f}")
    return quantity.resampled(rebuilt if quantity.models else control.trace())


def first_letter_f1(study: Study, detectors: Detectors, controls: Mapping[str, Control]) -> Estimate:
    """(F1 - best control) / (1 - best control) of `first_letter.f1`, over words and letters: 0 = nothing beyond a control."""
    return _of_words(study, detectors, controls, lambda d: d.said[:, :, 0])


def k_sparse_f1(study: Study, detectors: Detectors, controls: Mapping[str, Control]) -> Estimate:
    """(F1 - best control) / (1 - best control) of `first_letter.k_sparse_f1`, over words and letters: 0 = no more than it."""
    return _of_words(study, detectors, controls, lambda d: d.said[:, :, -1])


def _of_words(
    study: Study, detectors: Detectors, controls: Mapping[str, Control],
    said: Callable[[Detectors], NDArray[np.bool_]],
) -> Estimate:  # fmt: skip
    rivals = {name: control for name, control in controls.items() if not control.decoder_only}

    def resampled(study: Study, detectors: Detectors) -> Floats:
        return first_letter.resampled_f1(study, said(detectors))

    found = _measured(rivals, lambda control: resampled(*control.words()))
    own = resampled(study, detectors)
    return share(own, found, 1.0, n=int(first_letter.readable(study).sum()), n_unit="concept", higher=True)


def _tried(make: Callable[[], Floats]) -> Floats | Unscored:
    try:
        return make()
    except Unscored as unscored:
        return unscored


def _measured(rivals: Mapping[str, Control], score: Callable[[Control], Floats]) -> Resampled:
    """What each control scores. Those that were trained come first, and where none of them has a score, no other is asked.

    Raises Unscored then: controls that were not trained are easily beaten.
    """
    found = {name: _tried(partial(score, control)) for name, control in rivals.items() if control.trained}
    if all(isinstance(values, Unscored) for values in found.values()):
        raise Unscored(f"no trained control has a score: {_reasons(found)}")
    others = {name: _tried(partial(score, control)) for name, control in rivals.items() if not control.trained}
    return {name: (found | others)[name] for name in rivals}


def token_entropy(trace: Trace, controls: Mapping[str, Control]) -> Estimate:
    """P(a latent's token entropy > that of a latent of a random model's SAE), the least over random models; .5 = alike.

    The entropy, in nats, of how a latent's activation is spread over token ids, of equally many activations of every
    latent, since it grows with their number (Heap et al., arXiv 2501.17727). A random model knows little but the token.
    """
    own, models = entropies(trace), {name: control for name, control in controls.items() if control.of_model}
    found = {name: _tried(partial(_separated, own, control)) for name, control in models.items()}
    scored = {name: values for name, values in found.items() if not isinstance(values, Unscored)}
    if not scored:
        raise Unscored(f"no SAE of a random model: {_reasons(found)}")
    each = np.stack(list(scored.values()))
    low, high = least(each)
    controls_of = {"mean_entropy": float(own.mean()), **{name: float(v[0]) for name, v in scored.items()}}
    return Estimate(
        float(each[:, 0].min()), low, high, len(own), "latent", items={"entropy": own}, floor=0.5, ceiling=1.0,
        controls=controls_of,
    )  # fmt: skip


def _separated(own: Floats, control: Control) -> Floats:
    """(1 + resample,) P(own > the control's) with latents drawn anew on both sides."""
    other = entropies(control.rebuilt())
    rng = np.random.default_rng(seed_of("marginal_structure.separated"))
    own, other = np.sort(own), np.sort(other)
    low, high = np.searchsorted(other, own), np.searchsorted(other, own, side="right")
    found = [_wins(np.ones((1, len(own))), np.ones((1, len(other))), low, high)]
    for _ in range(RESAMPLES // CHUNK):
        drawn = [
            rng.multinomial(len(side), np.full(len(side), 1 / len(side)), size=CHUNK).astype(np.float64)
            for side in (own, other)
        ]
        found.append(_wins(drawn[0], drawn[1], low, high))
    return np.concatenate(found) / (len(own) * len(other))


def _wins(own: Floats, other: Floats, low: NDArray[np.intp], high: NDArray[np.intp]) -> Floats:
    """(resample,) pairs that are won, with latents drawn so often; `low` and `high` enclose ties in sorted others."""
    below = np.concatenate([np.zeros((len(other), 1)), other.cumsum(axis=1)], axis=1)
    return np.asarray((own * (below[:, low] + below[:, high]) / 2).sum(axis=1))
