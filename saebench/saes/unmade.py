"""In the place of an SAE that could not be made: whatever is asked of it is unscored for that reason."""

from dataclasses import dataclass, replace

from torch import Tensor

from saebench.record.score import Unscored
from saebench.saes.digests import digest_of
from saebench.saes.sae import LoadedSAE


@dataclass(frozen=True)
class Unmade:
    """A control that could not be made."""

    reason: Unscored

    def encode(self, x: Tensor) -> Tensor:
        raise Unscored(self.reason.reason, broken=self.reason.broken)


def unmade(sae: LoadedSAE, name: str, reason: Unscored) -> LoadedSAE:
    """In the place of a control that could not be made: whatever is asked of it is unscored for that reason."""
    return LoadedSAE(
        replace(sae.spec, digest=None), Unmade(reason), digest_of(reason.reason, sae.digest, name), sae.device
    )
