"""What can be read of labelled texts, and what latents have to do with it."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.run.labels import LabelledTexts

if TYPE_CHECKING:
    from saebench.evidence.labels.perturbing import Perturbed
    from saebench.evidence.labels.probing import Labelled
    from saebench.evidence.labels.readings import Pooling
    from saebench.saes.sae import LoadedSAE


def labels_read(spec: SAESpec, labels: LabelledTexts, pooling: str = "last") -> str:
    """Name of the labelled texts, and of how they are read."""
    return labels.name(spec, pooling)


@provides("labelled", reads=labels_read)
def labelled(sae: "LoadedSAE", labels: LabelledTexts, pooling: "Pooling" = "last") -> "Labelled":
    """The SAE's latents at labelled texts: at the last token of each, or the mean over its tokens."""
    return labels.labelled(sae, pooling)


@provides("perturbed", reads=labels_read)
def perturbed(sae: "LoadedSAE", labels: LabelledTexts, pooling: "Pooling" = "last") -> "Perturbed":
    """The SAE's latents at labelled texts, and what each of them adds to what a probe of the activation says."""
    return labels.perturbed(sae, pooling)
