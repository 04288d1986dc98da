"""Phrase banks: which one an SAE's features are taken apart with, and its texts at the hook, read once for all SAEs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saebench.record.places import ORGANISM, organism_folder
from saebench.run.documents import Documents
from saebench.run.models import Models
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.phrases.bank import Bank
    from saebench.evidence.phrases.decomposed import Decomposed
    from saebench.evidence.phrases.reading import Reading
    from saebench.saes.sae import LoadedSAE

FEWEST_WORLD = 48
"""Features of the embedded model's world: with fewer, one in twenty of other subjects' is hardly told."""


@dataclass
class Phrases:
    """Everything is made when it is first asked for."""

    models: Models
    documents: Documents
    shelf: Shelf

    def bank(self, spec: "SAESpec") -> "Bank":
        """What `--sae-phrases` names; else what the embedded model's world is made of, or well-known entities."""
        from saebench.evidence.phrases.bank_file import default_bank, load_bank
        from saebench.evidence.phrases.world_bank import world_bank
        from saebench.organism.lexicon import load_lexicon

        options = self.models.options
        if options.phrases:
            return load_bank(Path(options.phrases))
        if self.models.name(spec) != ORGANISM:
            return default_bank()
        return world_bank(load_lexicon(organism_folder()), max(options.sizes.latents, FEWEST_WORLD))

    def reading(self, spec: "SAESpec") -> "Reading":
        """The bank's texts in the SAE's model. Raises Unscored where there is no language model."""
        from saebench.evidence.phrases.reading import read_phrases

        subject, hook, bank = self.models.subject(spec), self.models.hook(spec), self.bank(spec)
        key = ("phrases", subject.digest, hook, bank.identity)
        return self.shelf.place.get(key, lambda: read_phrases(subject, hook, bank, self.models.cache()))

    def decomposed(self, sae: "LoadedSAE") -> "Decomposed":
        """Latents that are chosen on texts that name the bank's features, at phrases that do not."""
        from saebench.evidence.phrases.decomposed import decompose

        reading = self.reading(sae.spec)
        activations, encoded = self.documents.activations(sae), self.documents.rebuilt(sae)
        return decompose(sae, reading, activations, encoded.latents)
