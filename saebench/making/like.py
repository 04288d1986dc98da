"""What a control must have in common with the SAE that it is held against."""

from dataclasses import dataclass

from torch import Tensor

from saebench.evidence.words.probes import Probe
from saebench.saes.sae import LoadedSAE
from saebench.toy.sampling import Sample


@dataclass(frozen=True)
class Like:
    """What a control has in common with the SAE that it is a control of."""

    sae: LoadedSAE
    x: Tensor
    """(token, d) some of the activations that it reads."""
    d_sae: int
    l0: float
    known: Probe | None = None
    """What is known to be in the activations, for the oracle alone."""
    sample: Sample | None = None
    """The samples of a toy world, and their truth: for its oracle."""

    @property
    def share(self) -> float:
        return min(self.l0 / self.d_sae, 1.0)
