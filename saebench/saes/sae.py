"""What an SAE must be: `encode`, and `decode` or `W_dec`. Nothing else is required."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.record.score import Unscored
from saebench.saes.digests import UNDIGESTED
from saebench.saes.guard import SEED, broken, in_words, isolated

WIDE = 4096
"""Latents from which on an SAE is wide: decoding each of them alone costs as much as decoding so many tokens."""
DIRECTIONS = 1024
"""Decoder rows that are read off at a time."""
COMBINATIONS = 4
"""Of all latents, by which it is found out what `decode` multiplies by."""
ROUNDING = 1e-4
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@runtime_checkable
class SAE(Protocol):
    """The smallest thing that can be scored; `decode` may be left out where there is a `W_dec` (d_sae, d_in)."""

    def encode(self, x: Tensor) -> Tensor:
        """Activations (..., d_in) to latents (..., d_sae); a latent is active where it is not zero."""
        ...


@dataclass(frozen=True)
class LoadedSAE:
    """An SAE in memory with the facts that suites need, whatever object its loader found.

    Its own code runs in `saebench.saes.guard`, and what it returns is checked: an error, wrong shapes, NaN and infinities
    raise a broken `Unscored`.
    """

    spec: SAESpec = field(metadata=UNDIGESTED)
    source: Any = field(metadata=UNDIGESTED)
    digest: str
    """Stands for all that it computes, in the digest of a control that holds it as well, wherever it lies."""
    device: str = field(metadata=UNDIGESTED)
    doubts: tuple[str, ...] = field(default=(), metadata=UNDIGESTED)
    """Sentences that a user should read beside its scores."""
    unresumable: str = field(default="", metadata=UNDIGESTED)
    """Why stored scores of this digest may be of another SAE; empty where they cannot."""

    def encode(self, x: Tensor) -> Tensor:
        """Activations (token, d_in) to latents (token, d_sae)."""
        return self.asked("encode", x)

    def decode(self, latents: Tensor, x: Tensor | None = None) -> Tensor:
        """Latents (token, d_sae) to reconstructions (token, d_out).

        An SAE that normalises its input, or hands some of it on past the latents, needs the activations x (token,
        d_in) that they are of; without them it leaves that out.
        """
        return self.asked("decode", latents) if x is None else self.asked("decode", latents, x)

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        """What latents reconstruct, with what does not go through them but comes from the activations x (token, d_in)."""
        return self.asked("restore", y, x)

    def directions(self, d_sae: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Unit decoder directions (d_sae, d_in) and the norms (d_sae,) they had, both on the CPU.

        They are what `decode` adds for one latent alone, so that whatever a loader folds or scales is in them; of a wide
        SAE its own `W_dec`, where `decode` is found to multiply by it. A row of zeros stays one.
        """
        own = self.decoder_weights(d_sae, dtype) if d_sae > WIDE else None
        rows = self._one_by_one(d_sae, dtype) if own is None else own
        norms = rows.norm(dim=1)
        return torch.where(norms[:, None] > 0, rows / norms[:, None].clamp(min=1e-30), rows), norms

    def _one_by_one(self, d_sae: int, dtype: torch.dtype) -> Tensor:
        """(d_sae, d_out) what `decode` adds for each latent alone."""
        nothing = self.decode(torch.zeros(1, d_sae, device=self.device, dtype=dtype)).float()
        parts = []
        for start in range(0, d_sae, DIRECTIONS):
            one = torch.zeros(min(DIRECTIONS, d_sae - start), d_sae, device=self.device, dtype=dtype)
            one[torch.arange(len(one)), start + torch.arange(len(one))] = 1.0
            parts.append((self.decode(one).float() - nothing).cpu())
        return torch.cat(parts)

    def encoder_weights(self, d_sae: int) -> Tensor:
        """Its own `W_enc`, as (d_sae, d_in) on the CPU. Raises Unscored where it has none, since `encode` is all that is asked."""
        weights = self._weights("W_enc")
        if weights is None:
            raise Unscored("the SAE has no W_enc that would tell what its latents read")
        if weights.ndim != 2 or weights.shape[1] != d_sae:
            raise Unscored(
                f"W_enc has shape {tuple(weights.shape)}, and should have a column for each of {d_sae} latents"
            )
        return weights.T.contiguous()

    def decoder_weights(self, d_sae: int, dtype: torch.dtype = torch.float32) -> Tensor | None:
        """Its own `W_dec` (d_sae, d_out) on the CPU, if that is what `decode` multiplies by; None where it is not.

        Random combinations of all latents tell, each of which a row that differs would change (Freivalds 1979).
        """
        rows = self._weights("W_dec")
        if rows is None or rows.ndim != 2 or len(rows) != d_sae:
            return None
        drawn = torch.randn(COMBINATIONS, d_sae, generator=torch.Generator().manual_seed(SEED))
        given = torch.cat([torch.zeros(1, d_sae), drawn]).to(self.device, dtype)
        made = self.decode(given).float().cpu()
        if made.shape[1] != rows.shape[1]:
            return None
        wrote = made[1:] - made[:1]
        far = (wrote - drawn @ rows).norm(dim=1) > ROUNDING * wrote.norm(dim=1)
        return None if far.any() else rows

    def _weights(self, name: str) -> Tensor | None:
        """A matrix of its own, on the CPU; None where it has no tensor of that name."""
        with in_words(partial(broken, name)), isolated():
            found = getattr(self.source, name, None)
            return _finite(_real(name, found), name).float().cpu() if isinstance(found, Tensor) else None

    def asked(self, what: str, *given: Tensor, seed: int = SEED) -> Tensor:
        """What its own `encode`, `decode` or `restore` makes of tensors (token, …), checked."""
        copies = [tensor.clone() for tensor in given] if self.strange else given
        with in_words(partial(broken, f"{what} of shape {tuple(given[0].shape)}")):
            with isolated(seed):
                found = self.raw(what)(*copies)
            values = _real(what, found)
            if values.shape[:-1] != given[0].shape[:-1]:
                shapes = f"{tuple(given[0].shape)} into {tuple(values.shape)}"
                raise Unscored(f"{what} turned shape {shapes}", broken=True)
            # What strangers' code returns, it may still hold and change.
            values = values.clone(memory_format=torch.contiguous_format) if self.strange else values
            return _finite(values, what)

    @property
    def strange(self) -> bool:
        """Whether its code is not known to leave alone what it is given, as that of files' SAEs is."""
        return self.spec.loader != "files"

    def raw(self, what: str) -> Callable[..., Any]:
        """Its own `encode`, `decode` or `restore` as it is, to be called in a guard."""
        own: dict[str, Callable[..., Any]] = {
            "encode": self._encoded, "decode": self._decoded, "restore": self._restored,
        }  # fmt: skip
        return own[what]

    def _encoded(self, x: Tensor) -> Any:
        return self.source.encode(x)

    def _decoded(self, latents: Tensor, x: Tensor | None = None) -> Any:
        own = getattr(self.source, "decode", None)
        made = own(latents) if callable(own) else self._by_matrix(latents)
        return made if x is None else self._restored(made, x)

    def _restored(self, y: Tensor, x: Tensor) -> Any:
        own = getattr(self.source, "restore", None)
        return own(y, x) if callable(own) else y

    def _by_matrix(self, latents: Tensor) -> Tensor:
        """Of an SAE that has only a matrix."""
        if not hasattr(self.source, "W_dec"):
            raise Unscored("the SAE has neither decode nor W_dec")
        found = self.source.W_dec, getattr(self.source, "b_dec", 0.0)
        w_dec, bias = (v if isinstance(v, Tensor) else torch.as_tensor(v).to(latents) for v in found)
        d_sae = latents.shape[-1]
        if w_dec.ndim == 2 and len(w_dec) != d_sae == w_dec.shape[1]:
            now, right = tuple(w_dec.shape), tuple(w_dec.T.shape)
            raise Unscored(f"W_dec {now} is transposed: its rows are latents, so it should be {right}", broken=True)
        return latents @ w_dec + bias


def _real(what: str, found: Any) -> Tensor:
    """A plain tensor of real numbers: whole numbers become floats, and what is stored sparsely is written out."""
    if not isinstance(found, Tensor):
        raise Unscored(f"{what} returned a {type(found).__name__}, not a tensor", broken=True)
    values = found.detach()
    if values.is_complex() or values.is_meta:
        kind = "values that are only shapes" if values.is_meta else f"{values.dtype} values".removeprefix("torch.")
        raise Unscored(f"{what} returned {kind}, where real numbers are expected", broken=True)
    values = values.dequantize() if values.is_quantized else values
    values = values if values.layout is torch.strided else values.to_dense()
    plain: Tensor = values if type(values) is Tensor else values.as_subclass(Tensor)
    return plain if plain.dtype in FLOATS else plain.float()


def _finite(values: Tensor, what: str) -> Tensor:
    if torch.isfinite(values.sum()):  # one pass over them; a sum of what is finite may overflow all the same
        return values
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise Unscored(f"{what} returned {bad} values of {values.numel()} that are NaN or infinite", broken=True)
    return values
