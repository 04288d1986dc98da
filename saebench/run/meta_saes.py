"""Meta-SAEs of an SAE: trained when they are first asked for, and kept as long as the SAE."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.run.models import Models
from saebench.run.samples import Samples
from saebench.run.words import Words
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.evidence.meta_sae import MetaStructure
    from saebench.evidence.unit_rows import UnitRows
    from saebench.metrics.kin import Kin
    from saebench.saes.sae import LoadedSAE


@dataclass
class MetaSAEs:
    """What is trained is told by the budget; parents and children by the world, or by `absorption`."""

    models: Models
    words: Words
    samples: Samples

    def name(self, spec: SAESpec) -> str:
        """What is read: the texts on which latents are alive, and how meta-SAEs are trained."""
        steps = self.models.options.sizes.meta_steps
        return f"{self.models.corpus(spec).name}, meta-SAEs of {steps} steps on at most 2,048 latents"

    def kin_name(self, spec: SAESpec) -> str:
        """Where parents and children come from: a toy's truth, or words."""
        from saebench.evidence.words.concepts import LETTERS

        toy = is_toy(self.models.name(spec))
        return self.models.corpus(spec).name if toy else self.words.plan(spec, LETTERS).name

    def structure(self, unit: "UnitRows") -> "MetaStructure":
        from saebench.making.meta_structure import meta_structure

        return meta_structure(unit, self.models.options.sizes.meta_steps)

    def kin(self, sae: "LoadedSAE") -> "Kin":
        """Parents and children. Raises Unscored where `absorption` has no score."""
        from saebench.evidence.words.concepts import LETTERS
        from saebench.metrics.kin import of_known, of_words

        if is_toy(self.models.name(sae.spec)):
            return of_known(self.samples.known(sae))
        return of_words(self.words.study(sae, LETTERS), self.words.detectors(sae, LETTERS))
