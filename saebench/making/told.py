"""The truth of a toy world as an SAE: it is told which features are on in each of the samples that it is asked about."""

from dataclasses import dataclass

import torch
from torch import Tensor

from saebench.toy.sampling import Sample

SAME = 1e-10
"""How far apart two readings of one sample may be."""


@dataclass(frozen=True)
class Told:
    """Latents that are the features, looked up by the sample. What is no sample of the world has none."""

    directions: Tensor
    """(feature, d)"""
    features: Tensor
    """(sample, feature) in the order of `keys`."""
    keys: Tensor
    """(sample,) what each sample is known by, in rising order."""
    probe: Tensor
    """(d,) along which that is read."""

    def encode(self, x: Tensor) -> Tensor:
        read = x.double() @ self.probe
        at = torch.searchsorted(self.keys, read - SAME).clamp(max=len(self.keys) - 1)
        return torch.where((self.keys[at] - read).abs()[:, None] < SAME, self.features[at], 0.0)

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.directions

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        """What is no feature, as a position, is handed on."""
        return x


def told(sample: Sample) -> Told:
    probe = torch.randn(sample.x.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keys, order = (sample.x.double() @ probe).sort()
    features = torch.from_numpy(sample.features.toarray())
    return Told(sample.directions, features[order], keys, probe)
