"""Made-up directions, from careless to careful: each is a rung of the ladder that real features have to stand above.

Directions are rows (n, d) and not normalised. After Lee & Heimersheim (arXiv 2410.12555): differences of two draws do
not contain the activation that they are added to, unlike `draw - activation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.record.score import Unscored

BAND = 8
"""Neighbouring components among which parts are turned: with all of them, variance would leak to where there is none."""
TEMPERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Powers of the covariance: 0 is isotropic noise, 1 like the activations."""
FLOOR = 1e-4
"""Smallest variance of a direction, as a share of the mean one, that is told from none."""


@dataclass(frozen=True)
class Cloud:
    """Mean and covariance of a model's activations, and the activations themselves."""

    x: Float[Tensor, "token d"]

    @cached_property
    def mean(self) -> Float[Tensor, " d"]:
        return self.x.double().mean(dim=0).float()

    @cached_property
    def covariance(self) -> Float[Tensor, "d d"]:
        """(d, d), with the smallest eigenvalues raised, so that it has an inverse."""
        values, vectors = self.spectrum
        return ((vectors * values) @ vectors.T).float()

    @cached_property
    def spectrum(self) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
        """Eigenvalues (d,) in rising order and eigenvectors as columns (d, d), in double precision."""
        centred = self.x.double() - self.x.double().mean(dim=0)
        values, vectors = torch.linalg.eigh(centred.T @ centred / max(len(centred) - 1, 1))
        return values.clamp(min=FLOOR * float(values.clamp(min=0).mean()) + 1e-30), vectors

    @cached_property
    def first_component(self) -> Float[Tensor, " d"]:
        """(d,) first principal component, on the side of the mean."""
        direction = self.spectrum[1][:, -1].float()
        return direction if float(direction @ self.mean) >= 0 else -direction

    def root(self, power: float) -> Float[Tensor, "d d"]:
        """(d, d) a power of the covariance, symmetric, in double precision."""
        values, vectors = self.spectrum
        return (vectors * values**power) @ vectors.T

    def normal(self, n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
        """(n, d) draws from the normal distribution with this mean and covariance."""
        noise = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64)
        return (noise @ self.root(0.5)).float() + self.mean


def isotropic(cloud: Cloud, n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
    return torch.randn(n, len(cloud.mean), generator=generator)


def rotated_dictionary(
    directions: Float[Tensor, "feature d"], generator: torch.Generator
) -> Float[Tensor, "feature d"]:
    """All features turned by one random rotation: they keep their angles among each other."""
    turn = haar(directions.shape[1], generator)[0].float()
    return directions @ turn.T


def covariance_mixture(cloud: Cloud, n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
    """g1 - g2 with both drawn from a normal distribution like the activations."""
    return cloud.normal(n, generator) - cloud.normal(n, generator)


def tempered_mixture(cloud: Cloud, n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
    """As many draws each of normal distributions with the covariance to the powers of `TEMPERS`.

    From isotropic over covariance mixtures to the first components, so that for any direction there is one that varies as much: what directions
    are compared with of which nobody claims that they are like activations.
    """
    noise = torch.randn(n, len(cloud.mean), generator=generator, dtype=torch.float64)
    parts = noise.chunk(len(TEMPERS))
    return torch.cat([part @ cloud.root(power / 2) for part, power in zip(parts, TEMPERS, strict=False)]).float()


def real_mixture(cloud: Cloud, n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
    """a1 - a2 with both drawn from the activations: Heimersheim's poor man's model features."""
    if len(cloud.x) < 2:
        raise Unscored("one activation has no difference of two")
    first = torch.randint(len(cloud.x), (n,), generator=generator)
    apart = torch.randint(1, len(cloud.x), (n,), generator=generator)  # never the same activation twice
    return cloud.x[first] - cloud.x[(first + apart) % len(cloud.x)]


def towards_normal(cloud: Cloud, x: Float[Tensor, " d"], n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
    """g - x with g drawn from a normal distribution like the activations: it contains -x, which is its flaw."""
    return cloud.normal(n, generator) - x


def sums_of_two(directions: Float[Tensor, "feature d"], n: int, generator: torch.Generator) -> Float[Tensor, "{n} d"]:
    """Sums of two different features."""
    if len(directions) < 2:
        raise Unscored("one feature has no sum of two")
    first = torch.randint(len(directions), (n,), generator=generator)
    apart = torch.randint(1, len(directions), (n,), generator=generator)
    return directions[first] + directions[(first + apart) % len(directions)]


def haar(d: int, generator: torch.Generator, n: int = 1) -> Float[Tensor, "{n} {d} {d}"]:
    """(n, d, d) rotations drawn from the uniform (Haar) distribution over the orthogonal group, in double precision."""
    q, r = torch.linalg.qr(torch.randn(n, d, d, generator=generator, dtype=torch.float64))
    return q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # type: ignore[no-any-return]


def fixing(v: Float[Tensor, " d"], generator: torch.Generator, n: int = 1) -> Float[Tensor, "{n} d d"]:
    """(n, d, d) Haar-random rotations among those that leave v (d,) where it is, in double precision."""
    d = len(v)
    unit = v.double() / v.double().norm().clamp(min=1e-300)
    # Columns of `basis`: the unit vector, then any orthonormal basis of its complement.
    basis, _ = torch.linalg.qr(torch.cat([unit[:, None], torch.eye(d, dtype=torch.float64)], dim=1))
    inner = torch.eye(d, dtype=torch.float64).repeat(n, 1, 1)
    inner[:, 1:, 1:] = haar(d - 1, generator, n)
    return basis @ inner @ basis.T  # type: ignore[no-any-return]


def whitened_decompositions(
    cloud: Cloud, parts: Float[Tensor, "k d"], generator: torch.Generator, n: int
) -> Float[Tensor, "{n} k d"]:
    """(n, k, d) other parts with the same sum as `parts` (k, d), as alike each other in the cloud's own metric.

    R = S^(1/2) Q S^(-1/2) with S the covariance and Q a random rotation that leaves S^(-1/2) sum(parts) alone, so
    that Mahalanobis products of the parts are kept. Q turns principal components only among `BAND` neighbours of like
    variance: a free one would make parts vary as mixtures do, which real features do not.
    """
    values, vectors = cloud.spectrum
    white = parts.double() @ vectors / values.sqrt()
    bands = [white[:, i : i + BAND] for i in range(0, white.shape[1], BAND)]
    turned = [band @ fixing(band.sum(dim=0), generator, n).mT for band in bands]
    return (torch.cat(turned, dim=2) * values.sqrt() @ vectors.T).float()


def euclidean_decompositions(
    parts: Float[Tensor, "k d"], generator: torch.Generator, n: int
) -> Float[Tensor, "{n} k d"]:
    """(n, k, d) other parts with the same sum, norms and angles; biased, since that ignores how activations vary."""
    return (parts.double() @ fixing(parts.double().sum(dim=0), generator, n).mT).float()
