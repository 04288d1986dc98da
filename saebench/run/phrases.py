"""Phrase banks: which one an SAE's features are taken apart with, and its texts at the hook, read once for all SAEs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saebench.record.places import ORGANISM, organism_folder
from saebench.record.score import Unscored
from saebench.run.documents import Documents
from saebench.run.explaining import Explaining
from saebench.run.judges import Judges
from saebench.run.models import Models
from saebench.run.shelf import Shelf

if TYPE_CHECKING:
    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.phrases.bank import Bank, Feature
    from saebench.evidence.phrases.decomposed import Decomposed, Texts
    from saebench.evidence.phrases.reading import Reading
    from saebench.judges.judge import Explanations
    from saebench.saes.sae import LoadedSAE

DESCRIPTION = "description"
"""A feature is what the bank says; else it is what a judge says of the texts where a latent fires."""
FEWEST_WORLD = 48
"""Features of the embedded model's world: with fewer, one in twenty of other subjects' is hardly told."""


@dataclass
class Phrases:
    """Everything is made when it is first asked for."""

    models: Models
    documents: Documents
    judges: Judges
    explaining: Explaining
    shelf: Shelf

    def bank(self, spec: "SAESpec") -> "Bank":
        """What `--sae-phrases` names; else what the embedded model's world is made of, or well-known entities."""
        key = ("bank", self.models.options.phrases, self.models.name(spec) == ORGANISM)
        return self.shelf.model.get(key, lambda: self._bank(spec))

    def _bank(self, spec: "SAESpec") -> "Bank":
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
        return self._read(spec, self.bank(spec))

    def _read(self, spec: "SAESpec", bank: "Bank") -> "Reading":
        from saebench.evidence.phrases.reading import read_phrases

        subject, hook = self.models.subject(spec), self.models.hook(spec)
        key = ("phrases", subject.digest, hook, bank.identity)
        return self.shelf.place.get(key, lambda: read_phrases(subject, hook, bank, self.models.cache()))

    def read(self, spec: "SAESpec", source: str) -> str:
        """Name of all that is read: phrases, the documents that say how active latents are, and who named the features."""
        from saebench.evidence.phrases.written_bank import VERSION

        named = f"{self.bank(spec).identity} + {self.models.corpus(spec).name}"
        if source == DESCRIPTION:
            return named
        return f"{named} + explained by {self.judges.name(spec)}, {self.explaining.read(spec)}, phrases {VERSION}"

    def decomposed(self, sae: "LoadedSAE", source: str) -> "Decomposed":
        """Latents at phrases, by what the bank says of features, or by what a judge says of the texts where they fire."""
        return self._by_description(sae) if source == DESCRIPTION else self._by_texts(sae)

    def _texts(self, sae: "LoadedSAE", reading: "Reading") -> "Texts":
        from saebench.evidence.phrases.decomposed import respond_to

        activations, encoded = self.documents.activations(sae), self.documents.rebuilt(sae)
        return respond_to(sae, reading, activations, encoded.latents)

    def _by_description(self, sae: "LoadedSAE") -> "Decomposed":
        from saebench.evidence.phrases.decomposed import by_naming

        return by_naming(self._texts(sae, self.reading(sae.spec)))

    def _by_texts(self, sae: "LoadedSAE") -> "Decomposed":
        """The bank's own features are controls here."""
        import numpy as np

        from saebench.evidence.phrases.bank import Bank
        from saebench.evidence.phrases.decomposed import by_explanation
        from saebench.evidence.phrases.reading import joined

        self.models.subject(sae.spec).check_hook(
            self.models.hook(sae.spec)
        )  # first: of a toy, it says that there is none
        examples, said = self.explaining.examples(sae), self.explaining.explanations(sae)
        features = self._features(sae.spec, said)
        if not features:
            raise Unscored("the judge explains no latent by anything that phrases could be written about")
        first = self.reading(sae.spec)
        own = Bank("explained", tuple(features.values()))
        texts = self._texts(sae, joined(first, self._read(sae.spec, own)))
        place = {one: len(first.bank.features) + i for i, one in enumerate(features)}
        which = [i for i, one in enumerate(said) if one in place]
        feature = np.array([place[str(said[i])] for i in which], dtype=np.intp)
        return by_explanation(texts, examples.latents[which], feature, len(said))

    def _features(self, spec: "SAESpec", said: "Explanations") -> "dict[str, Feature]":
        """What explanations are made of, as the world or the judge has it."""
        from saebench.evidence.phrases.concept_bank import concept_features
        from saebench.evidence.phrases.world_bank import Author
        from saebench.evidence.phrases.written_bank import asking, written_feature
        from saebench.judges.language import Language
        from saebench.organism.lexicon import load_lexicon

        judge = self.judges.of(spec)
        if not isinstance(judge, Language):
            return concept_features(Author(load_lexicon(organism_folder())), said)
        names = list(dict.fromkeys(one for one in said if one is not None))
        written = judge.speaker.ask([asking(name) for name in names])
        made = {name: written_feature(name, found or {}) for name, found in zip(names, written, strict=True)}
        return {name: feature for name, feature in made.items() if feature is not None}
