"""SAEs of the toy world `absorption` whose every score is known: latents that are told which features are on."""

from dataclasses import replace
from functools import cache

import numpy as np
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.evidence.known import Known, known
from saebench.making.told import Told, told
from saebench.saes.sae import LoadedSAE
from saebench.toy.sampling import Sample, sample
from saebench.toy.structure import structure
from saebench.toy.worlds import World, worlds

SPEC = SAESpec("toy/told", "python", "told:make", model="toy:absorption")
SAMPLES = 4096


@cache
def drawn(world: str = "absorption") -> tuple[World, Sample]:
    made = worlds()[world]
    return made, sample(made, SAMPLES, "evaluation")


def oracle(world: str = "absorption") -> Told:
    return told(drawn(world)[1])


def read(source: object, world: str = "absorption") -> Known:
    """What `known` reads off an object with `encode` and `decode`."""
    made, samples = drawn(world)
    return known(LoadedSAE(SPEC, source, "digest", "cpu"), made, samples)


def absorbing(share: float) -> Told:
    """Children whose latents write a share of their parent's direction, and parents whose latents leave that out."""
    source, parent = oracle(), structure(drawn()[0]).parent
    child = np.flatnonzero(parent >= 0)
    directions, features = source.directions.clone(), source.features.clone()
    directions[child] += share * source.directions[parent[child]]
    features[:, parent[child]] = (features[:, parent[child]] - share * features[:, child]).clamp(min=0)
    return replace(source, directions=directions, features=features)


def mixed(source: Told, change: Tensor) -> Told:
    """Latents (feature, latent) that are put together from those of a source; directions likewise."""
    return replace(source, directions=change.T @ source.directions, features=source.features @ change)
