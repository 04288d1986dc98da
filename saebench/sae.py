"""What an SAE must be: `encode`, and `decode` or `W_dec`. Nothing else is required."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from saebench.score import Unscored
from saebench.spec import SAESpec


@runtime_checkable
class SAE(Protocol):
    """The smallest thing that can be scored; `decode` may be left out where there is a `W_dec` (d_sae, d_in)."""

    def encode(self, x: Tensor) -> Tensor:
        """Activations (..., d_in) to latents (..., d_sae); a latent is active where it is not zero."""
        ...


@dataclass(frozen=True)
class LoadedSAE:
    """An SAE in memory with the facts that suites need, whatever object its loader found.

    `encode` and `decode` check what the object returns: wrong shapes, NaN and infinities raise a broken `Unscored`.
    """

    spec: SAESpec
    source: Any
    digest: str
    device: str

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Activations (token, d_in) to latents (token, d_sae)."""
        latents: Tensor = self.source.encode(x)
        if latents.shape[:-1] != x.shape[:-1]:
            raise Unscored(f"encode turned shape {tuple(x.shape)} into {tuple(latents.shape)}", broken=True)
        return _finite(latents, "encode")

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (token, d_sae) to reconstructions (token, d_in)."""
        reconstruction = self._decoder()(latents)
        if reconstruction.shape[:-1] != latents.shape[:-1]:
            shapes = f"{tuple(latents.shape)} into {tuple(reconstruction.shape)}"
            raise Unscored(f"decode turned shape {shapes}", broken=True)
        return _finite(reconstruction, "decode")

    def _decoder(self) -> Callable[[Tensor], Tensor]:
        if callable(getattr(self.source, "decode", None)):
            return self.source.decode  # type: ignore[no-any-return]
        if not hasattr(self.source, "W_dec"):
            raise Unscored("the SAE has neither decode nor W_dec")
        bias = getattr(self.source, "b_dec", 0.0)
        return lambda latents: latents @ self.source.W_dec + bias


def _finite(values: Tensor, what: str) -> Tensor:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise Unscored(f"{what} returned {bad} values of {values.numel()} that are NaN or infinite", broken=True)
    return values


def digest_of(source: Any, *facts: str) -> str:
    """sha256 over every tensor that an SAE holds, by name, and over `facts`."""
    sha = hashlib.sha256("\n".join(facts).encode())
    for name, tensor in sorted(_tensors(source).items()):
        sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def _tensors(source: Any) -> dict[str, Tensor]:
    """Parameters, buffers and plain tensor attributes."""
    state = dict(source.state_dict()) if isinstance(source, torch.nn.Module) else {}
    plain = vars(source) if hasattr(source, "__dict__") else {}
    return {name: value for name, value in {**plain, **state}.items() if isinstance(value, Tensor) and value.numel()}
