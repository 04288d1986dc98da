"""SAEs whose reading depends on the activation's own norm or mean: undone where it can be, told where it cannot."""

import math
from typing import Any

import torch
from torch import Tensor

EPS = 1e-5


def normalised(sae: Any) -> Any:
    """A sae-lens SAE as an object whose `decode` does not remember what was encoded last.

    An SAE that normalises nothing, and has no skip connection, stays as it is. Raises ValueError where the statistics
    of its training are not in its files.
    """
    kind = sae.cfg.normalize_activations
    transcodes, skips = "transcoder" in sae.cfg.architecture(), getattr(sae, "W_skip", None) is not None
    if kind in ("none", None):
        return Skipping(sae) if skips else sae
    if kind not in NORMS:
        raise ValueError(
            f"it was trained on activations normalised by {kind!r}, whose statistics are not in its files: fold them into"
            " its weights"
        )
    sae.run_time_activation_norm_fn_in = sae.run_time_activation_norm_fn_out = lambda x: x
    return NormalisedTranscoder(sae, NORMS[kind](), skips=skips) if transcodes else Normalised(sae, NORMS[kind]())


class LayerNorm:
    """The SAE reads (x - mean) / std."""

    def read(self, x: Tensor) -> Tensor:
        return (x - self.shift(x)) / (self.scale(x) + EPS)

    def shift(self, x: Tensor) -> Tensor:
        return x.mean(dim=-1, keepdim=True)

    def scale(self, x: Tensor) -> Tensor:
        return x.std(dim=-1, keepdim=True)


class ConstantNorm(LayerNorm):
    """The SAE reads x scaled to the norm sqrt(d)."""

    def read(self, x: Tensor) -> Tensor:
        return x / self.scale(x)

    def shift(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[..., :1])

    def scale(self, x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return norm / math.sqrt(x.shape[-1])


NORMS: dict[str, type[LayerNorm]] = {"layer_norm": LayerNorm, "constant_norm_rescale": ConstantNorm}


class Skipping:
    """A transcoder with a skip connection: its output is what latents write, plus a linear map of its input."""

    def __init__(self, sae: Any) -> None:
        self.sae = sae

    def encode(self, x: Tensor) -> Tensor:
        found: Tensor = self.sae.encode(x)
        return found

    def decode(self, latents: Tensor) -> Tensor:
        found: Tensor = self.sae.decode(latents)
        return found

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        skipped: Tensor = x @ self.sae.W_skip.T.to(x)
        return y + skipped


class Normalised(Skipping):
    """An SAE that normalises what it reads; latents come in units of x, and `restore` puts back what they lack."""

    def __init__(self, sae: Any, norm: LayerNorm) -> None:
        super().__init__(sae)
        self.norm = norm
        self.bias = self.decode(torch.zeros(1, sae.cfg.d_sae, device=sae.device, dtype=sae.dtype))

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(self.norm.read(x)) * self.norm.scale(x)

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        return y + self.bias * (self.norm.scale(x) - 1) + self.norm.shift(x)


class NormalisedTranscoder(Skipping):
    """A transcoder that normalises what it reads; what it writes has no such norm."""

    def __init__(self, sae: Any, norm: LayerNorm, *, skips: bool) -> None:
        super().__init__(sae)
        self.norm, self.skips = norm, skips

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(self.norm.read(x))

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        return super().restore(y, x) if self.skips else y
