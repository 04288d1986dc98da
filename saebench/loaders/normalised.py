"""SAEs whose reading depends on the activation's own norm or mean: undone where it can be, told where it cannot."""

import math
from typing import Any

from torch import Tensor

EPS = 1e-5


def normalised(sae: Any) -> Any:
    """A sae-lens SAE as an object whose `decode` does not remember what was encoded last.

    An SAE that normalises nothing, and has no skip connection, stays as it is.
    """
    kind = sae.cfg.normalize_activations
    known = {"none": None, "layer_norm": LayerNorm, "constant_norm_rescale": ConstantNorm}
    if kind not in known:
        raise ValueError(
            f"the SAE was trained on activations normalised by {kind!r}, whose statistics are not in its files: fold them"
            " into its weights"
        )
    wrap = known[kind]
    if wrap is not None:
        sae.run_time_activation_norm_fn_in = sae.run_time_activation_norm_fn_out = lambda x: x
        return wrap(sae)
    return Skipping(sae) if getattr(sae, "W_skip", None) is not None else sae


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


class LayerNorm(Skipping):
    """The SAE reads (x - mean) / std; latents come in units of x, and `restore` puts the mean and the bias's scale back."""

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        centred = x - x.mean(dim=-1, keepdim=True)
        return x.mean(dim=-1, keepdim=True), centred.std(dim=-1, keepdim=True)

    def encode(self, x: Tensor) -> Tensor:
        mean, std = self._moments(x)
        found: Tensor = self.sae.encode((x - mean) / (std + EPS))
        return found * std

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        mean, std = self._moments(x)
        bias: Tensor = self.sae.b_dec
        made: Tensor = y + bias * (std - 1) + mean
        return made


class ConstantNorm(Skipping):
    """The SAE reads x scaled to the norm sqrt(d); latents come in units of x."""

    def _scale(self, x: Tensor) -> Tensor:
        norm: Tensor = x.norm(dim=-1, keepdim=True)
        return norm / math.sqrt(x.shape[-1])

    def encode(self, x: Tensor) -> Tensor:
        scale = self._scale(x)
        found: Tensor = self.sae.encode(x / scale)
        return found * scale

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        bias: Tensor = self.sae.b_dec
        made: Tensor = y + bias * (self._scale(x) - 1)
        return made
