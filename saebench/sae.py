"""What an SAE must be: `encode`, and `decode` or `W_dec`. Nothing else is required."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from saebench.batches import out_of_memory
from saebench.naming import shown
from saebench.score import Unscored
from saebench.spec import SAESpec

DIRECTIONS = 1024
"""Decoder rows that are read off at a time."""


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
        latents = _called("encode", self.source.encode, x)
        if latents.shape[:-1] != x.shape[:-1]:
            raise Unscored(f"encode turned shape {tuple(x.shape)} into {tuple(latents.shape)}", broken=True)
        return _finite(latents, "encode")

    @torch.no_grad()
    def decode(self, latents: Tensor, x: Tensor | None = None) -> Tensor:
        """Latents (token, d_sae) to reconstructions (token, d_out).

        An SAE that normalises its input, or hands some of it on past the latents, needs the activations x (token,
        d_in) that they are of; without them it leaves that out.
        """
        reconstruction = _called("decode", self._decoder(), latents)
        reconstruction = reconstruction if x is None else self.restore(reconstruction, x)
        if reconstruction.shape[:-1] != latents.shape[:-1]:
            shapes = f"{tuple(latents.shape)} into {tuple(reconstruction.shape)}"
            raise Unscored(f"decode turned shape {shapes}", broken=True)
        return _finite(reconstruction, "decode")

    @torch.no_grad()
    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        """What latents reconstruct, with what does not go through them but comes from the activations x (token, d_in)."""
        own = getattr(self.source, "restore", None)
        return _called("restore", lambda made: own(made, x), y) if callable(own) else y

    @torch.no_grad()
    def directions(self, d_sae: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Unit decoder directions (d_sae, d_in) and the norms (d_sae,) they had, both on the CPU.

        They are what `decode` adds for one latent alone, so that whatever a loader folds or scales is in them.
        A row of zeros stays one.
        """
        nothing = self.decode(torch.zeros(1, d_sae, device=self.device, dtype=dtype)).float()
        parts = []
        for start in range(0, d_sae, DIRECTIONS):
            one = torch.zeros(min(DIRECTIONS, d_sae - start), d_sae, device=self.device, dtype=dtype)
            one[torch.arange(len(one)), start + torch.arange(len(one))] = 1.0
            parts.append((self.decode(one).float() - nothing).cpu())
        rows = torch.cat(parts)
        norms = rows.norm(dim=1)
        return torch.where(norms[:, None] > 0, rows / norms[:, None].clamp(min=1e-30), rows), norms

    def _decoder(self) -> Callable[[Tensor], Tensor]:
        if callable(getattr(self.source, "decode", None)):
            return self.source.decode  # type: ignore[no-any-return]
        if not hasattr(self.source, "W_dec"):
            raise Unscored("the SAE has neither decode nor W_dec")
        bias = getattr(self.source, "b_dec", 0.0)
        return lambda latents: latents @ self.source.W_dec + bias


def _called(what: str, function: Callable[[Tensor], Tensor], argument: Tensor) -> Tensor:
    """Call an SAE's own code, whatever it may raise."""
    try:
        values = function(argument)
    except Unscored:
        raise
    except Exception as error:
        if out_of_memory(error):  # fewer at a time may do
            raise
        message = f"{what} of shape {tuple(argument.shape)} raised {type(error).__name__}: {error}"
        raise Unscored(shown(message), broken=True) from error
    if not isinstance(values, Tensor):
        raise Unscored(f"{what} returned a {type(values).__name__}, not a tensor", broken=True)
    return values


def _finite(values: Tensor, what: str) -> Tensor:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise Unscored(f"{what} returned {bad} values of {values.numel()} that are NaN or infinite", broken=True)
    return values


def digest_of(source: Any, *facts: str) -> str:
    """sha256 over every tensor, number and text that an SAE holds, by its path in the object, and over `facts`."""
    sha = hashlib.sha256("\n".join(facts).encode())
    for path, value in sorted(_state(source, "", set()), key=lambda entry: entry[0]):
        sha.update(f"{path}:{_fingerprint(value)}\n".encode())
    return sha.hexdigest()


def _fingerprint(value: Any) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    data = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
    return f"{tuple(value.shape)} {value.dtype} {hashlib.sha256(data).hexdigest()}"


def _state(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Walk attributes, modules, lists and dictionaries down to tensors, numbers and texts."""
    if isinstance(value, Tensor | str | int | float | None):
        yield path, value
    elif id(value) not in seen:
        seen.add(id(value))
        for key, inner in _inside(value):
            yield from _state(inner, f"{path}.{key}", seen)


def _inside(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, dict):
        return value.items()
    foreign = isinstance(value, type | ModuleType | FunctionType)
    return () if foreign else getattr(value, "__dict__", {}).items()
