"""What can be read of labelled texts with a few latents, with all of them, and without the SAE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saebench.evidence.labels.layout import Layout, asked, shuffled
from saebench.evidence.labels.probing import (
    Gram,
    Labelled,
    Said,
    Selection,
    check_active,
    choose,
    on_all,
    on_latents,
)
from saebench.evidence.labels.ranks import f1, resampled_auc
from saebench.evidence.labels.words import latents_with_words
from saebench.record.score import Estimate, Unscored
from saebench.stats.statistics import Floats, bootstrap
from saebench.stats.two_stage import mean_of_clusters

if TYPE_CHECKING:
    from scipy import sparse

RESAMPLES = 200
"""Of the texts of each set."""
CHANCE = 0.5
SPAN = (0.0, 1.0)


def auc(labelled: Labelled, k: int, selection: Selection = "deviation") -> Estimate:
    """AUC on test texts of logistic probes on k latents that are chosen for each labelled set, mean over sets.

    "Are Sparse Autoencoders Useful?" (Kantamneni et al. 2025, arXiv 2502.16681). Latents and weights are learned from
    train texts, how much weights are held back is chosen on validation texts. The floor is the best of random
    directions, as many and as sparse, of labels that were dealt out anew, and of an SAE of the model with random weights,
    on that model; the ceiling is the probe on the activation itself. The encoder alone is asked: an SAE with a useless decoder has the same score.
    """
    said = _few(labelled, k, selection)
    estimate = mean_auc(said, said.auc, f"sparse_probing.auc.{k}.{selection}")
    assert said.latents is not None
    chosen = np.array([" ".join(map(str, row)) for row in said.latents])
    return _between(labelled, replace(estimate, items={**estimate.items, "latents": chosen}), k, selection)


def weighted_f1(labelled: Labelled, k: int, selection: Selection = "deviation") -> Estimate:
    """F1 on test texts, of both classes weighted by their texts, of logistic probes on k latents, mean over labelled sets.

    As the package sae-probes takes it (arXiv 2502.16681); the probes are those of `sparse_probing.auc`.
    """
    said = _few(labelled, k, selection)
    values = _f1(said)
    items = {"contribution": values, "total": np.ones_like(values)}
    estimate = bootstrap(
        items,
        lambda s: s["contribution"] / s["total"],
        purpose=f"sparse_probing.f1.{k}.{selection}",
        n_unit="labelled set",
    )
    controls = {name: float(_f1(few).mean()) for name, few in _floors(labelled, k, selection).items()}
    named = {"item": np.array(said.names), "contribution": values}
    return replace(
        estimate,
        items=named,
        floor=max(controls.values()),
        ceiling=float(_f1(_dense(labelled)).mean()),
        controls=controls,
    )


def auc_all(labelled: Labelled) -> Estimate:
    """AUC on test texts of logistic probes on all latents, mean over labelled sets.

    Weights are held back (L2), how much is chosen on validation texts and never on test texts. The floor is the better of the same
    probe on random directions, as many and as sparse, and of an SAE of the model with random weights, on that model; the
    ceiling is the probe on the activation itself, which an SAE
    can only surpass by chance or because its latents are easier to learn from.
    """
    said = _everything(labelled)
    estimate = mean_auc(said, said.auc, "sparse_probing.auc_all")
    controls = {name: float(one.auc.mean()) for name, one in _useless(labelled).items()}
    found = replace(estimate, controls={**estimate.controls, **controls}, ceiling=float(_dense(labelled).auc.mean()))
    return replace(found, floor=max(controls.values(), default=CHANCE))


def dense_auc(labelled: Labelled) -> Estimate:
    """AUC on test texts of logistic probes on the model's own activation, mean over labelled sets: what SAEs are held against."""
    said = _dense(labelled)
    return replace(mean_auc(said, said.auc, "sparse_probing.dense_auc"), floor=CHANCE, ceiling=1.0)


def gap(labelled: Labelled) -> Estimate:
    """How much better, in AUC on test texts, a probe on the activation is than one on all latents, mean over labelled sets.

    Both are learned in the same way from the same texts. Where it is above 0, something that the activation says of the
    texts is lost in the latents, or harder to learn from them.
    """
    dense, own = _dense(labelled), _everything(labelled)
    difference = dense.auc - own.auc
    purpose = "sparse_probing.gap"
    drawn = _resampled(dense, purpose) - _resampled(own, purpose)
    estimate = mean_of_clusters(
        difference, drawn, list(dense.names), purpose=purpose, n_unit="labelled set", span=(-1.0, 1.0)
    )
    few = _few(labelled, 5, "deviation")
    assert few.latents is not None
    items = {
        **estimate.items,
        "dense": dense.auc,
        "all": own.auc,
        "told_by": np.array(latents_with_words(labelled.latents, labelled.readings, few.latents)),
    }
    controls = {name: float((dense.auc - one.auc).mean()) for name, one in _useless(labelled).items()}
    floor = min(controls.values(), default=None)
    return replace(estimate, items=items, floor=floor, controls={**estimate.controls, **controls})


def transfer(labelled: Labelled) -> Estimate:
    """AUC of probes on all latents on a second set of the same question, which nothing was learned from, mean over pairs.

    The same question in another language, of other people, or of another kind of text (arXiv 2502.16681, section 5).
    The ceiling is the probe on the activation itself, learned from the same texts; the controls tell both on the first
    set, so that what each of them loses can be seen.
    """
    readings = labelled.readings
    pairs = [(readings.names.index(a), readings.names.index(b)) for a, b in readings.plan.transfer]
    if len(pairs) < 2:
        raise Unscored("the labelled texts have fewer than two pairs of sets with the same question")
    dense, own = (_moved(labelled, pairs, who) for who in ("dense", "all"))
    estimate = mean_auc(own, own.auc, "sparse_probing.transfer")
    first = [asked(readings).index(a) for a, _ in pairs]
    controls = {
        "at home": float(_everything(labelled).auc[first].mean()), "dense at home": float(_dense(labelled).auc[first].mean()),
    }  # fmt: skip
    return replace(estimate, floor=CHANCE, ceiling=float(dense.auc.mean()), controls={**estimate.controls, **controls})


def mean_auc(said: Said, values: Float[np.ndarray, " set"], purpose: str) -> Estimate:
    """Mean over sets of their AUC; sets and the texts within them are resampled."""
    drawn = _resampled(said, purpose)
    return mean_of_clusters(values, drawn, list(said.names), purpose=purpose, n_unit="labelled set", span=SPAN)


def _between(labelled: Labelled, estimate: Estimate, k: int, selection: Selection) -> Estimate:
    """With what useless latents get, and the activation itself."""
    controls = {name: float(few.auc.mean()) for name, few in _floors(labelled, k, selection).items()}
    ceiling = float(_dense(labelled).auc.mean())
    return replace(estimate, floor=max(controls.values()), ceiling=ceiling, controls={**estimate.controls, **controls})


def _few(labelled: Labelled, k: int, selection: Selection) -> Said:
    return _of(labelled, ("few", k, selection), lambda: _chosen(labelled.latents, _layout(labelled), k, selection))


def _floors(labelled: Labelled, k: int, selection: Selection) -> dict[str, Said]:
    dealt = Layout.of(labelled.readings, asked(labelled.readings), shuffled(labelled.readings))
    found = {
        "shuffled_labels": _of(
            labelled, ("shuffled", k, selection), lambda: _chosen(labelled.latents, dealt, k, selection)
        )
    }
    if (random := labelled.random) is not None:
        found["random_directions"] = _of(
            labelled, ("random", k, selection), lambda: _chosen(random, _layout(labelled), k, selection)
        )
    if (untrained := labelled.of_random_model) is not None:
        found["random_model"] = _few(untrained, k, selection)
    return found


def _chosen(latents: sparse.csr_array, layout: Layout, k: int, selection: Selection) -> Said:
    check_active(latents)
    return on_latents(latents, layout, choose(latents, layout, k, selection))


def _everything(labelled: Labelled) -> Said:
    check_active(labelled.latents)
    return _of(labelled, ("all",), lambda: on_all(Gram(labelled.latents), _layout(labelled)))


def _useless(labelled: Labelled) -> dict[str, Said]:
    """Probes on all latents of what learned nothing of this model."""
    found: dict[str, Said] = {}
    if (random := labelled.random) is not None:
        make = lambda: on_all(Gram(random), _layout(labelled))  # noqa: E731
        found["random_directions"] = _of(labelled, ("random all",), make)
    if (untrained := labelled.of_random_model) is not None:
        found["random_model"] = _everything(untrained)
    return found


def _dense(labelled: Labelled) -> Said:
    """The same for all SAEs of a hook, and kept with the readings."""
    readings = labelled.readings
    return readings.memory.get(("dense",), lambda: on_all(Gram(readings.standard), _layout(labelled)))


def _moved(labelled: Labelled, pairs: list[tuple[int, int]], who: str) -> Said:
    readings = labelled.readings
    gram = Gram(readings.standard if who == "dense" else labelled.latents)
    memory = readings.memory if who == "dense" else labelled.memory
    return memory.get(("moved", who), lambda: on_all(gram, Layout.moved(readings, pairs)))


def _of(labelled: Labelled, key: tuple[object, ...], make: Callable[[], Said]) -> Said:
    return labelled.memory.get(key, make)


def _layout(labelled: Labelled) -> Layout:
    return Layout.of(labelled.readings, asked(labelled.readings))


def _resampled(said: Said, purpose: str) -> Floats:
    return resampled_auc(said.probability, said.positive, said.tested, purpose=purpose, resamples=RESAMPLES)


def _f1(said: Said) -> Floats:
    return f1(said.probability, said.positive, said.tested)
