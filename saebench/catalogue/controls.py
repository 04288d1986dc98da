"""The one list of controls: SAEs that learned nothing, or are known to be worse or better than a real one.

What is made of an SAE without training is a function of `saebench.making`; what is trained differs from the SAE in its
decoder, its activations or its model. Each is a row here, and where it is a new function, a function there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Decoder = Literal["free", "soft_frozen", "frozen"]
"""Frozen: as it was drawn; soft-frozen: every direction keeps a cosine of .8 with it (arXiv 2602.14111)."""


@dataclass(frozen=True)
class ControlKind:
    """How a control is made, and where it is held against SAEs."""

    made: str = ""
    """`module:function` of `saebench.making`, which is given what the SAE is like; empty for one that is trained."""
    options: Mapping[str, int] = field(default_factory=dict)
    """What else the function is given, such as the dose of damage."""
    decoder: Decoder = "free"
    """How the decoder is held in training."""
    shuffled: bool = False
    """Whether it is trained on activations of which every column was permuted on its own."""
    random_model: bool = False
    """Whether it is trained and measured on a model with random weights, of the control's name."""
    competes: bool = False
    """Whether `marginal_structure` asks that an SAE is better than it."""
    decoder_only: bool = False
    """Whether it encodes as the SAE does, so that it says nothing of what depends on latents alone."""

    knows: bool = False
    """Whether it is given what is known to be in the activations."""

    @property
    def trained(self) -> bool:
        return not self.made


REPLACED = (25, 50, 75)
"""Percent of an SAE's latents."""
NOISE = (25, 50, 100)
"""Percent of the norm of each of its decoder directions."""
ORACLE = "oracle"
CONTROLS: dict[str, ControlKind] = {
    "random": ControlKind("controls:random_sae"),
    "random_l0": ControlKind("controls:random_l0", competes=True),
    "permuted_decoder": ControlKind("controls:permuted_decoder", competes=True, decoder_only=True),
    "pca": ControlKind("controls:pca", competes=True),
    "identity": ControlKind("controls:identity"),
    "best_k": ControlKind("controls:best_k"),
    "frozen": ControlKind(decoder="frozen", competes=True),
    "soft_frozen": ControlKind(decoder="soft_frozen", competes=True),
    "shuffled_rows": ControlKind(shuffled=True),
    **{f"replaced_{percent}": ControlKind("damage:replaced", {"percent": percent}) for percent in REPLACED},
    **{f"noise_{percent}": ControlKind("damage:noisy", {"percent": percent}) for percent in NOISE},
    ORACLE: ControlKind("damage:oracle", knows=True),
    **{name: ControlKind(random_model=True, competes=True) for name in ("random_model", "random_blocks", "permuted_weights", "step_0")},
}  # fmt: skip
"""By the name that stands behind `~`, where there is one to be had of any SAE."""
OFFERED = tuple(name for name, control in CONTROLS.items() if not control.random_model)
"""Behind `~`: an SAE of a random model is none of the SAE's own."""
