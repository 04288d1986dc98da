"""Tied SAEs: a latent reads along the direction that it writes. Any training class of sae-lens, made so."""

from functools import cache
from typing import Any

from torch import Tensor


@cache
def tied(made: type[Any]) -> type[Any]:
    """The class with one matrix: its encoder is its decoder, transposed. What it saves is an SAE of the class itself.

    For activations that are not normalised: a scale could not be folded into both uses of one matrix.
    """

    class Tied(made):  # type: ignore[misc]
        @property
        def W_enc(self) -> Tensor:
            transposed: Tensor = self.W_dec.T
            return transposed

        def __setattr__(self, name: str, value: Any) -> None:
            if name != "W_enc":  # sae-lens starts with two matrices
                super().__setattr__(name, value)

        def process_state_dict_for_saving_inference(self, state_dict: dict[str, Any]) -> None:
            state_dict["W_enc"] = self.W_dec.detach().T.contiguous()
            super().process_state_dict_for_saving_inference(state_dict)

    Tied.__name__ = f"Tied{made.__name__}"
    return Tied
