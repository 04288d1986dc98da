"""Phrase banks and latents of which it is known what they are active on."""

from typing import Any

import numpy as np
from scipy import sparse

from saebench.evidence.phrases.bank import Bank, Feature, Phrase
from saebench.evidence.phrases.decomposed import Decomposed


def bank(features: int = 40, parts: int = 5, phrases: int = 3) -> Bank:
    """Features that have no subject in common."""
    return Bank("planted", tuple(_feature(f"feature {i}", parts, phrases) for i in range(features)))


def _feature(name: str, parts: int, phrases: int) -> Feature:
    made = {
        f"part {part}": tuple(Phrase(f"{name}, {part}, {i}", (f"{name} {part}",)) for i in range(phrases))
        for part in range(parts)
    }
    naming = tuple(f"this is {name}, text {i}" for i in range(4))
    return Feature(name, made, tuple(f"{name} {part}" for part in range(parts)), naming, near=(f"not {name}",))


def own_phrases(of: Bank) -> np.ndarray:
    """(feature, phrase) 1 on a feature's own phrases."""
    return (np.arange(len(of.features))[:, None] == of.feature_of[None]).astype(float)


def part_number(of: Bank) -> np.ndarray:
    """(phrase,) number of its subcomponent within its feature."""
    first = np.searchsorted(of.feature_of_part, of.feature_of)
    return np.asarray(of.part_of - first)


def decomposed(of: Bank, own: np.ndarray, **others: Any) -> Decomposed:
    """One latent for each feature; random directions are never active, unless it is said that they are."""
    everyone, count = np.arange(len(of.features)), len(of.phrases)
    apart = of.apart[of.feature_of].astype(float)
    fields: dict[str, Any] = {
        "bank": of, "feature": everyone, "latent": everyone, "f1": np.ones(len(everyone)), "own": own,
        "near": np.zeros((len(everyone), len(of.near_of))), "random": np.zeros((len(everyone), count)),
        "dense": np.zeros((0, count)), "controls": sparse.csr_array(apart / apart.sum(axis=1, keepdims=True)),
        "asked": len(everyone),
    }  # fmt: skip
    return Decomposed(**{**fields, **others})
