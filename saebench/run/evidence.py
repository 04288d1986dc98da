"""What a test may ask for of every SAE: on documents, at words, in the game, beside controls."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.evidence.words.concepts import LETTERS
from saebench.run.control_saes import ControlSAEs
from saebench.run.documents import Documents
from saebench.run.entities import Entities
from saebench.run.game import Game
from saebench.run.genres import Genres
from saebench.run.models import Models
from saebench.run.samples import Samples
from saebench.run.words import Words

if TYPE_CHECKING:
    from saebench.evidence.entities.outcome import Outcome
    from saebench.evidence.game.answers import Lineup, Rungs
    from saebench.evidence.game.rungs import Rung
    from saebench.evidence.known import Known
    from saebench.evidence.trace import Rebuilt, Trace
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.speller import Speller
    from saebench.evidence.words.study import Probed, Study
    from saebench.metrics.dataset_shift import Firing
    from saebench.metrics.marginal_structure import Control
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations


def documents_read(spec: SAESpec, models: Models) -> str:
    """Name of the documents that an SAE is read on."""
    return models.corpus(spec).name


def words_read(spec: SAESpec, words: Words, concepts: str = LETTERS) -> str:
    """Name of the words of a concept set, and of how they are read."""
    return words.plan(spec, concepts).name


def entities_read(spec: SAESpec, entities: Entities, chosen: str) -> str:
    """Name of the entities, and of how many pairs of them are patched."""
    return entities.read(spec, chosen)


@provides("activations", reads=documents_read)
def activations(sae: "LoadedSAE", documents: Documents) -> "Activations":
    """The language model's activations at the SAE's hook; computed once for all SAEs."""
    return documents.activations(sae)


@provides("trace", reads=documents_read)
def trace(sae: "LoadedSAE", documents: Documents) -> "Trace":
    """One pass of the SAE over the corpus, spliced into the model; computed once for all properties."""
    return documents.trace(sae)


@provides("rebuilt", reads=documents_read)
def rebuilt(sae: "LoadedSAE", documents: Documents) -> "Rebuilt":
    """What the SAE makes of activations, whatever the model would say of it; of a toy world as well."""
    return documents.rebuilt(sae)


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


@provides("lineup", reads=documents_read)
def lineup(sae: "LoadedSAE", game: Game) -> "Lineup":
    """What the model answered about the SAE's features and about made-up ones."""
    return game.lineup(sae)


@provides("control_rungs", reads=documents_read)
def control_rungs(sae: "LoadedSAE", game: Game, control: str) -> "Rungs":
    """What the model answered about a control of the game, which a test is parametrized with."""
    return game.rungs(sae, control)


@provides("controls")
def controls(sae: "LoadedSAE", control_saes: ControlSAEs) -> "dict[str, Control]":
    """SAEs that learned nothing of the model, to be measured as the SAE is, on what the SAE is measured on."""
    return control_saes.of(sae)


@provides("known", reads=documents_read)
def known(sae: "LoadedSAE", samples: Samples) -> "Known":
    """The SAE's latents on samples of a toy world, beside the features that are on there."""
    return samples.known(sae)


@provides("firings", reads=documents_read)
def firings(sae: "LoadedSAE", genres: Genres) -> "tuple[Firing, list[Firing], list[Firing]]":
    """Latents on texts that the model never saw: of an SAE that saw them, of other seeds that did not, of all seeds."""
    return genres.firings(sae)


@provides("dataset_game", reads=documents_read)
def dataset_game(sae: "LoadedSAE", genres: Genres) -> "Rung":
    """Latents of genres that the model knows, and latents that exist because of one that it does not know."""
    return genres.game(sae)


@provides("disentangled", reads=entities_read)
def disentangled(sae: "LoadedSAE", entities: Entities, chosen: str) -> "list[Outcome]":
    """What the model answers about entities with the latents of one attribute patched, which a test says how to choose."""
    return entities.outcomes(sae, chosen)
