"""Can the model tell an SAE's features from made-up directions? Heimersheim's game, and what else its answers say."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from saebench.evidence.game import games
from saebench.evidence.game.answers import MIXTURE, POSITIVE, Lineup, Rungs, built, counted
from saebench.evidence.game.responses import STATISTICS
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats, least, never_certain, ratio_of_sums, ratio_of_tails

if TYPE_CHECKING:
    from saebench.evidence.game.rungs import Rung

STRICT = (MIXTURE, "real_mixture", "shuffled_sae", "soft_frozen_sae", "whitened_decomposition")
"""Fakes that a linear read-off network cannot tell from its own directions (tests/support/planted_networks.py)."""
LADDER = (
    "isotropic", "rotated_dictionary", "covariance_gaussian", *STRICT[:4], "sum_of_two", "sae_error",
    "whitened_decomposition", "euclidean_decomposition",
)  # fmt: skip
ACTIVE = ("active_covariance_mixture", "active_real_mixture")
CONTROLS = (*POSITIVE, "halves", "dead_latents", "random_model")
FEWEST_STRICT = 3
"""Strict rungs that must have an answer, covariance mixtures among them: else the least of them is no bound."""
WORST_FVU = 0.5
"""Beyond it what is asked about a reconstruction is asked about half of something else."""


def ladder_auc(lineup: Lineup, name: str) -> Estimate:
    """`rung_auc` of one of an SAE's rungs. Raises Unscored where the model tells no known directions either."""
    _check_told(lineup)
    return rung_auc(lineup.rungs, name)


def _check_told(lineup: Lineup) -> None:
    if lineup.untold is not None:
        raise Unscored(lineup.untold)


def rung_auc(rungs: Rungs, name: str) -> Estimate:
    """AUC of sensitivity, features against one rung's fakes, in 5-against-5 games at one prompt; .5 is chance.

    Sensitivity is 1 / the angle (for active features: the share of their own size) at which the KL reaches what
    covariance mixtures reach at the middle of the grid. Inactive features are turned on, active ones turned down.
    Beside it stand the other statistics and the balance of the match.
    """
    rung = counted(rungs, name)
    estimate = games.auc(rung.table())
    others = {statistic: games.point_auc(rung.table(statistic)) for statistic in STATISTICS[1:]}
    controls = {
        **estimate.controls, **others, "matched": float(rung.matched), "candidates": float(rung.candidates),
        **{f"imbalance in {trait}": gap for trait, gap in rung.balance.items()},
    }  # fmt: skip
    known = {key: value for key, value in controls.items() if np.isfinite(value)}
    return Estimate(**{**vars(estimate), "controls": known, "items": _items(rung)})


def _items(rung: Rung) -> dict[str, Any]:
    """Mean curves with bands for the picture, and every feature's and fake's sensitivity."""
    table = rung.table()
    columns: dict[str, Any] = {"step": rung.real.steps}
    for side, curves in (("real", rung.real), ("fake", rung.fake)):
        low, middle, high = band(curves.kl)
        columns |= {side: middle, f"{side}_low": low, f"{side}_high": high}
    asked = np.isfinite(table.real)
    columns |= {"prompt": np.nonzero(asked)[0], "feature": table.real_id[asked], "sensitivity": table.real[asked]}
    asked = np.isfinite(table.fake)
    return columns | {"fake_of": table.fake_id[asked], "fake_sensitivity": table.fake[asked]}


def band(
    kl: Float[np.ndarray, "prompt slot step"],
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """(step,) geometric mean of KL (prompt, slot, step), with the 95% interval over features."""
    logs = np.log(np.maximum(kl, 1e-7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # slots that were never asked about
        each = np.nanmean(logs, axis=0)
    each = each[np.isfinite(each).all(axis=1)]
    middle, error = each.mean(axis=0), 1.96 * each.std(axis=0) / max(len(each), 1) ** 0.5
    return np.exp(middle - error), np.exp(middle), np.exp(middle + error)


def auc(lineup: Lineup) -> Estimate:
    """The least AUC over the strict rungs: what features have that the most careful fakes have not.

    Its interval is that of the least of several. Raises Unscored where fewer than three strict rungs count, or not that
    of covariance mixtures, and where the model tells no known directions either.
    """
    lowest, each = _strict(lineup)
    low, high = least(np.stack(list(each.values())))
    single = games.auc(counted(lineup.rungs, lowest).table())
    estimate = Estimate(
        float(each[lowest][0]), low, high, single.n, "feature", floor=0.5, ceiling=1.0,
        controls={
            **{name: float(values[0]) for name, values in each.items()},
            "rungs": float(len(each)), "games_needed": single.controls["games_needed"],
        },
    )  # fmt: skip
    return never_certain(estimate, 0.0, 1.0)


def _strict(lineup: Lineup) -> tuple[str, dict[str, Floats]]:
    """The hardest of the strict rungs that count, and the resampled AUC of all that do. Raises Unscored as `auc` does."""
    _check_told(lineup)
    each: dict[str, Floats] = {}
    missing: dict[str, str] = {}
    for name in STRICT:
        try:
            resampled = games.resampled_auc(counted(lineup.rungs, name).table())
            games.interval(resampled)
            each[name] = resampled
        except Unscored as unscored:
            missing[name] = unscored.reason
    if MIXTURE in missing or len(each) < FEWEST_STRICT:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise Unscored(f"{len(each)} of {len(STRICT)} strict rungs count: {reasons}")
    return min(each, key=lambda name: each[name][0]), each


def accuracy(lineup: Lineup) -> Estimate:
    """Share of real features among the five of ten that the model reacts to soonest, at the hardest strict rung."""
    hardest, _ = _strict(lineup)
    return games.accuracy(counted(lineup.rungs, hardest).table())


def angle(lineup: Lineup) -> Estimate:
    """Mean angle, in degrees, that features have to be turned on by for the level to be reached; a description.

    On a logarithmic scale; an angle that is not reached counts as the largest. The items hold mean response curves of
    features and of every fake, also of those that are not like them.
    """
    rung = built(lineup.rungs, MIXTURE)
    table = rung.table()
    logs = np.log(np.degrees(1.0 / np.maximum(table.real, 1.0 / rung.real.steps[-1])))
    resampled = np.exp(games.resampled_mean(logs, table.real_id))
    low, high = games.interval(resampled)
    estimate = Estimate(float(resampled[0]), low, high, games.count(table), "feature", items=_pictured(lineup.rungs))
    return never_certain(estimate, *np.degrees(rung.real.steps[[0, -1]]).tolist())


def _pictured(rungs: Rungs) -> dict[str, Any]:
    """Mean curves by the axis that they are drawn over: angles in degrees, or shares of a feature's own size."""
    columns: dict[str, Any] = {}
    for name, rung in rungs.items():
        if isinstance(rung, Unscored):
            continue
        axis, steps = ("angle", np.degrees(rung.real.steps)) if rung.sign == "plus" else ("share", rung.real.steps)
        sides = {name: rung.fake} if axis in columns else {"features": rung.real, name: rung.fake}
        columns.setdefault(axis, steps)
        for side, curves in sides.items():
            ends = band(curves.kl)
            columns |= {f"{axis}:{side}{end}": curve for end, curve in zip((":low", "", ":high"), ends, strict=True)}
    return columns


def sensitivity_log_ratio(lineup: Lineup) -> Estimate:
    """ln(angle of covariance mixtures / angle of features) at which the response reaches the level; 0 = no difference.

    Means of logarithms; an angle that is not reached counts as the largest.
    """
    _check_told(lineup)
    rung = counted(lineup.rungs, MIXTURE)
    table = rung.table()
    least = 1.0 / rung.real.steps[-1]
    logs = [np.log(np.maximum(side, least)) for side in (table.real, table.fake)]
    widest = float(np.log(rung.real.steps[-1] / rung.real.steps[0]))
    return games.difference(games.Table(logs[0], logs[1], table.real_id, table.fake_id), widest)


def noise_suppression_gap(lineup: Lineup) -> Estimate:
    """Mean convexity of the response to features minus that to covariance mixtures; 0 = no difference."""
    _check_told(lineup)
    return games.difference(counted(lineup.rungs, MIXTURE).table("convexity"))


def error_pathology_ratio(lineup: Lineup) -> Estimate:
    """KL of the SAE's reconstruction / KL of an error as large along covariance mixtures, from pooled sums; ideal <= 1.

    Gurnee (2024) found 2.2 to 4.5 against isotropic errors in GPT-2 (not reproduced here); against covariance
    mixtures the error is not pathological at every layer (Lee & Heimersheim, arXiv 2410.12555).
    """
    _check_reconstructs(lineup)
    purpose = "distinguishability.error_pathology_ratio"
    return ratio_of_tails(lineup.error_kl, lineup.mixture_kl, purpose=purpose, n_unit="prompt")


def _check_reconstructs(lineup: Lineup) -> None:
    """Raise Unscored for an SAE whose error is as large as the activation, so that none of the same size is harmless."""
    if lineup.fvu > WORST_FVU:
        raise Unscored(
            f"at the prompts the SAE has an FVU of {lineup.fvu:.2f}, above {WORST_FVU}: it reconstructs nothing"
        )


def plateau_gap(lineup: Lineup) -> Estimate:
    """Plateau around real activations minus plateau around activations made of like latents, in shares of 90 degrees.

    After Giglemiani et al. (arXiv 2409.15019): 0 if what an SAE would put together is as stable as the real thing.
    """
    _check_reconstructs(lineup)
    real, made = lineup.plateaus
    gap = ratio_of_sums(real - made, np.ones_like(real), purpose="distinguishability.plateau_gap", n_unit="prompt")
    gap = never_certain(gap, -1.0, 1.0)
    return Estimate(**{**vars(gap), "controls": {"real": float(real.mean()), "made": float(made.mean())}})
