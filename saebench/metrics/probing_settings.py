"""Probes that learn from few texts, or from many of one class and few of the other."""

from collections.abc import Callable
from dataclasses import replace

from saebench.evidence.labels.fitting import FEW_STRENGTHS
from saebench.evidence.labels.layout import Layout, asked
from saebench.evidence.labels.probing import Gram, Labelled, Said, check_active, on_all
from saebench.evidence.labels.settings import CHOSEN, imbalanced, rich, scarce
from saebench.metrics.sparse_probing import CHANCE, mean_auc
from saebench.record.score import Estimate

SHARES = (0.05, 0.25, 0.75, 0.95)
ALONE = (1.0,)
"""How little weights are held back where no text is left over to choose it."""


def scarcity(labelled: Labelled, examples: int) -> Estimate:
    """AUC on test texts of logistic probes on all latents that learned from so few texts, mean over labelled sets.

    The setting of scarce data of "Are Sparse Autoencoders Useful?" (Kantamneni et al. 2025, arXiv 2502.16681), whose
    probes are on 16 and 128 latents. Half of the examples are positive; a larger number has those of a smaller one among
    its own, and all numbers are asked of the same sets, which have at least 512 texts to learn from. Weights are held
    back as validation texts say, and by C = 1 below 32 examples. The floor is the same probe on random directions, as
    many and as sparse; the ceiling is the one on the activation itself, which an SAE surpasses where its latents are
    easier to learn from.
    """
    strengths = FEW_STRENGTHS if examples >= CHOSEN else ALONE
    return _asked(labelled, f"scarcity.{examples}", lambda layout: scarce(layout, examples), strengths)


def imbalance(labelled: Labelled, share: float) -> Estimate:
    """AUC on test texts of logistic probes on all latents that learned from a share of positive texts, mean over sets.

    The setting of imbalanced classes of "Are Sparse Autoencoders Useful?" (Kantamneni et al. 2025, arXiv 2502.16681),
    whose probes are on 16 and 128 latents. All shares learn from the same number of texts of the same labelled sets,
    which have at least 512 of them; test texts are as many of both classes, which AUC does not depend on. The floor is
    the same probe on random directions, as many and as sparse; the ceiling is the one on the activation itself.
    """
    return _asked(
        labelled, f"imbalance.{share}", lambda layout: imbalanced(layout, share, max(SHARES)), FEW_STRENGTHS
    )  # fmt: skip


def _asked(
    labelled: Labelled, setting: str, part: Callable[[Layout], Layout], strengths: tuple[float, ...]
) -> Estimate:
    readings = labelled.readings
    layout = part(rich(Layout.of(readings, asked(readings))))
    check_active(labelled.latents)
    own = on_all(Gram(labelled.latents), layout, strengths)

    def of_activation() -> Said:
        return on_all(Gram(readings.standard), layout, strengths)

    estimate = mean_auc(own, own.auc, f"sparse_probing.{setting}")
    floor = CHANCE
    if labelled.random is not None:
        floor = float(on_all(Gram(labelled.random), layout, strengths).auc.mean())
        estimate = replace(estimate, controls={**estimate.controls, "random_directions": floor})
    ceiling = float(readings.memory.get(("dense", setting), of_activation).auc.mean())
    return replace(estimate, floor=floor, ceiling=ceiling)
