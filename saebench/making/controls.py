"""SAEs without training that every finding is compared with: what scores without having learned anything.

Which there are, and what they compete in, is told in `saebench.catalogue.controls`; models with random weights come from
`saebench.subject.random_weights`, SAEs that are trained, on nothing or with frozen directions, from `control_training`.
"""

from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from saebench.catalogue.controls import CONTROLS
from saebench.making.like import Like
from saebench.saes.digests import UNDIGESTED, digest_of
from saebench.saes.directions import Linear, random_directions
from saebench.saes.sae import LoadedSAE
from saebench.saes.sparsity import sides, to_sparse
from saebench.stats.statistics import seed_of


def random_sae(like: Like) -> Any:
    """Random directions, on wherever they read something positive, as at the start of training."""
    return random_directions(like.x, like.d_sae, 1.0, "controls.random").fitted(like.x)


def random_l0(like: Like) -> Any:
    """Random directions, as many and as sparse as the SAE's."""
    return random_directions(like.x, like.d_sae, like.share, "controls.random_l0").fitted(like.x)


@dataclass(frozen=True)
class Reordered:
    """An SAE whose latents write along one another's directions."""

    sae: LoadedSAE
    order: Tensor
    side: Tensor = field(metadata=UNDIGESTED)
    """(latent,) see `saebench.saes.sparsity.sides`: an activation is taken to another latent's side as well."""

    def encode(self, x: Tensor) -> Tensor:
        return self.sae.encode(x)

    def decode(self, latents: Tensor) -> Tensor:
        side = self.side.to(latents)
        return self.sae.decode((latents * side)[..., self.order.to(latents.device)] * side)

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        return self.sae.restore(y, x)


def permuted_decoder(like: Like) -> Any:
    """The SAE with the rows of its decoder shuffled."""
    generator = torch.Generator().manual_seed(seed_of("controls.permuted_decoder"))
    side = sides(to_sparse(like.sae.encode(like.x.to(like.sae.device))))
    return Reordered(like.sae, torch.randperm(like.d_sae, generator=generator), torch.from_numpy(side))


@dataclass(frozen=True)
class Components:
    """Principal components, each as two latents, its positive and its negative side; the largest `k` are kept."""

    directions: Tensor
    mean: Tensor
    k: int

    def encode(self, x: Tensor) -> Tensor:
        read = (x - self.mean) @ self.directions.T
        both = torch.cat([read, -read], dim=-1).clamp(min=0)
        kept = both.topk(self.k, dim=-1)
        return torch.zeros_like(both).scatter(-1, kept.indices, kept.values)

    def decode(self, latents: Tensor) -> Tensor:
        plus, minus = latents.chunk(2, dim=-1)
        return (plus - minus) @ self.directions + self.mean


def pca(like: Like) -> Any:
    """Principal components, for every token the ones it has most of, as many as the SAE has active latents."""
    mean = like.x.mean(0)
    _, _, directions = torch.linalg.svd(like.x - mean, full_matrices=False)
    return Components(directions, mean, max(1, min(round(like.l0), len(directions))))


class Identity:
    """Every dimension is a latent."""

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def identity(like: Like) -> Any:
    """Perfect and not sparse: a bound, not a rival."""
    return Identity()


@dataclass(frozen=True)
class Best:
    """An SAE without its lesser latents."""

    sae: LoadedSAE
    kept: Tensor
    """(latent,) 1 for those that stay."""

    def encode(self, x: Tensor) -> Tensor:
        latents = self.sae.encode(x)
        return latents * self.kept.to(latents)

    def decode(self, latents: Tensor) -> Tensor:
        return self.sae.decode(latents)

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        return self.sae.restore(y, x)


def best_k(like: Like, k: int = 512) -> Any:
    """The SAE's k latents that contribute most to the sample: how much a smaller dictionary would lose."""
    latents = like.sae.encode(like.x.to(like.sae.device))
    _, norms = like.sae.directions(like.d_sae, latents.dtype)
    kept = torch.zeros(like.d_sae)
    kept[(latents.float().cpu().square().sum(0) * norms.square()).argsort(descending=True, stable=True)[:k]] = 1.0
    return Best(like.sae, kept)


def oracle(directions: Tensor, mean: Tensor, threshold: float) -> Any:
    """An SAE whose directions (latent, d) are known to be true, where a planted or embedded truth exists."""
    return Linear(torch.nn.functional.normalize(directions, dim=1), mean, threshold)


def control_sae(name: str, like: Like) -> LoadedSAE:
    """A control, to be measured as any SAE is; its hook, model and training context are those of the real one."""
    source, spec = _on(like.sae.device, source_of(name, like)), like.sae.spec
    facts = (spec.digest or like.sae.digest, name, str(round(like.l0, 3)), str(like.d_sae))
    named = replace(spec, name=f"{spec.name}~{name}", digest=None, d_sae=None, control=True, origin=spec)
    return LoadedSAE(named, source, digest_of(source, *facts), like.sae.device)


def source_of(name: str, like: Like) -> Any:
    """What encodes and decodes as the control of that name."""
    control = CONTROLS[name]
    module, _, function = control.made.partition(":")
    return getattr(import_module(f"saebench.making.{module}"), function)(like, **control.options)


def _on(device: str, source: Any) -> Any:
    tensors = {name: value.to(device) for name, value in vars(source).items() if isinstance(value, Tensor)}
    inner = {name: _on(device, value) for name, value in vars(source).items() if isinstance(value, Linear)}
    return replace(source, **tensors, **inner) if tensors or inner else source
