"""What an SAE does at words, and what the model says of them."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.evidence.words.concepts import LETTERS
from saebench.run.words import Words

if TYPE_CHECKING:
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.speller import Speller
    from saebench.evidence.words.study import Probed, Study
    from saebench.saes.sae import LoadedSAE


def words_read(spec: SAESpec, words: Words, concepts: str = LETTERS) -> str:
    """Name of the words of a concept set, and of how they are read."""
    return words.plan(spec, concepts).name


@provides("probed", reads=words_read)
def probed(sae: "LoadedSAE", words: Words, concepts: str) -> "Probed":
    """The words of the concept set at the SAE's hook and what a probe reads of them: the same for all SAEs there."""
    return words.probed(sae.spec, concepts)


@provides("study", reads=words_read)
def study(sae: "LoadedSAE", words: Words, concepts: str) -> "Study":
    """The SAE's latents at the words of the concept set."""
    return words.study(sae, concepts)


@provides("detectors", reads=words_read)
def detectors(sae: "LoadedSAE", words: Words, concepts: str) -> "Detectors":
    """Latents that detect the concepts, chosen on words that are not scored."""
    return words.detectors(sae, concepts)


@provides("speller", reads=words_read)
def speller(sae: "LoadedSAE", words: Words, concepts: str) -> "Speller":
    """The language model, asked for the concepts of words with edited activations."""
    return words.speller(sae.spec, concepts)
