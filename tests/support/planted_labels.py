"""Labelled texts whose activations say nothing but the label, and sparse latents of which some say it too."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from saebench.evidence.labels.labelled import in_own_units
from saebench.evidence.labels.probing import Labelled
from saebench.evidence.labels.readings import Plan, Readings
from saebench.organism.labelled import LabelledSet

SETS, TEXTS, LATENTS = 6, 120, 30


def readings(sets: int = SETS, texts: int = TEXTS, *, transfer: tuple[tuple[str, str], ...] = ()) -> Readings:
    """Activations that say nothing but the label, in their first dimension, half of the time."""
    rng = np.random.default_rng(0)
    names = [f"set {i}" for i in range(sets)]
    known = tuple(LabelledSet(name, tuple("x" * texts), (True, False) * (texts // 2)) for name in names)
    positive = np.concatenate([np.array(one.positive) for one in known])
    x = rng.normal(size=(len(positive), 8))
    x[:, 0] += 2.0 * positive
    return Readings(Plan("planted", known, "last", transfer), torch.from_numpy(x).float(), np.arange(len(positive)))


def planted(own: Readings, share: float = 1.0) -> NDArray[np.float64]:
    """(text, latent) sparse noise, and one latent per set that is on at a share of its positive texts and nowhere else."""
    rng = np.random.default_rng(1)
    dense = rng.exponential(size=(len(own.set_of), LATENTS)) * (rng.random((len(own.set_of), LATENTS)) < 0.1)
    for i in range(len(own.names)):
        on = own.positive & (own.set_of == i) & (rng.random(len(own.set_of)) < share)
        dense[own.set_of == i, i] = 0.0
        dense[on, i] = 1 + rng.random(on.sum())
    return dense


def labelled(own: Readings, dense: NDArray[np.float64], random: NDArray[np.float64] | None = None) -> Labelled:
    rows = [None if values is None else in_own_units(sparse.csr_array(values))[0] for values in (dense, random)]
    assert rows[0] is not None
    return Labelled(own, rows[0], rows[1])
