"""What a test may ask for of every SAE: on documents, at words, in the game, beside controls."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.evidence.words.concepts import LETTERS
from saebench.run.cloze import INSIDE, Cloze
from saebench.run.control_saes import ControlSAEs
from saebench.run.documents import Documents
from saebench.run.explaining import Explaining
from saebench.run.game import Game
from saebench.run.genres import Genres
from saebench.run.judges import Judges
from saebench.run.meta_saes import MetaSAEs
from saebench.run.models import Models
from saebench.run.partners import Partners
from saebench.run.phrases import Phrases
from saebench.run.samples import Samples
from saebench.run.words import Words

if TYPE_CHECKING:
    from saebench.evidence.cloze import Answered
    from saebench.evidence.examples import Examples
    from saebench.evidence.game.answers import Lineup, Rungs
    from saebench.evidence.game.rungs import Rung
    from saebench.evidence.judged import Judged, Likeness
    from saebench.evidence.known import Known
    from saebench.evidence.meta_sae import MetaStructure
    from saebench.evidence.phrases.decomposed import Decomposed
    from saebench.evidence.stitching import Stitched
    from saebench.evidence.trace import Rebuilt, Trace
    from saebench.evidence.unit_rows import UnitRows
    from saebench.evidence.words.detectors import Detectors
    from saebench.evidence.words.speller import Speller
    from saebench.evidence.words.study import Probed, Study
    from saebench.judges.judge import Explanations
    from saebench.metrics.dataset_shift import Firing
    from saebench.metrics.kin import Kin
    from saebench.metrics.marginal_structure import Control
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations


def documents_read(spec: SAESpec, models: Models) -> str:
    """Name of the documents that an SAE is read on."""
    return models.corpus(spec).name


def words_read(spec: SAESpec, words: Words, concepts: str = LETTERS) -> str:
    """Name of the words of a concept set, and of how they are read."""
    return words.plan(spec, concepts).name


def questions_read(spec: SAESpec, cloze: Cloze) -> str:
    """Name of the cloze questions whose passages fit into the SAE's training context."""
    return cloze.name(spec, INSIDE)


def longer_questions_read(spec: SAESpec, cloze: Cloze, passages: str) -> str:
    """Name of those that are longer."""
    return cloze.name(spec, passages)


def phrases_read(spec: SAESpec, phrases: Phrases, source: str) -> str:
    """Name of the phrases that features are taken apart with, and of who named the features."""
    return phrases.read(spec, source)


def examples_read(spec: SAESpec, explaining: Explaining) -> str:
    """Name of the texts that latents' examples are from, and of how these are chosen."""
    return explaining.read(spec)


def judge_asked(spec: SAESpec, judges: Judges) -> str:
    """Who explains and judges, with which prompts."""
    return judges.name(spec)


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


def meta_read(spec: SAESpec, meta_saes: MetaSAEs) -> str:
    """Name of the documents, and of how meta-SAEs are trained."""
    return meta_saes.name(spec)


def kin_read(spec: SAESpec, meta_saes: MetaSAEs) -> str:
    """Name of what tells parents from children."""
    return meta_saes.kin_name(spec)


def partner_read(spec: SAESpec, partners: Partners) -> str:
    """Name of the SAE that latents are held against."""
    return partners.name(spec)


@provides("unit_rows", reads=documents_read)
def unit_rows(sae: "LoadedSAE", rebuilt: "Rebuilt") -> "UnitRows":
    """Decoder directions of the latents that are alive, and random ones that are spread as they are."""
    from saebench.evidence.unit_rows import unit_rows

    return unit_rows(sae, rebuilt)


@provides("meta", reads=meta_read)
def meta(unit_rows: "UnitRows", meta_saes: MetaSAEs) -> "MetaStructure":
    """Meta-SAEs of the SAE's decoder directions, and of random ones."""
    return meta_saes.structure(unit_rows)


@provides("kin", reads=kin_read)
def kin(sae: "LoadedSAE", meta_saes: MetaSAEs) -> "Kin":
    """Latents of parents and of their children, and how much of each parent is absorbed."""
    return meta_saes.kin(sae)


@provides("stitched", reads=partner_read)
def stitched(sae: "LoadedSAE", unit_rows: "UnitRows", partners: Partners) -> "Stitched":
    """The SAE's latents beside another SAE of its family."""
    return partners.stitched(sae, unit_rows)


@provides("answered", reads=questions_read)
def answered(sae: "LoadedSAE", cloze: Cloze) -> "Answered":
    """Cloze questions whose passages fit into the SAE's training context, answered with it spliced in and without."""
    return cloze.answered(sae)


@provides("answered_beyond", reads=longer_questions_read)
def answered_beyond(sae: "LoadedSAE", cloze: Cloze, passages: str) -> "Answered":
    """The same after passages that are longer, which the test is parametrized with: `beyond` or `far`."""
    return cloze.answered(sae, passages)


@provides("decomposed", reads=phrases_read)
def decomposed(sae: "LoadedSAE", phrases: Phrases, source: str) -> "Decomposed":
    """Latents of features on phrases about what the features are made of; `source` says who named the features."""
    return phrases.decomposed(sae, source)


@provides("examples", reads=examples_read)
def examples(sae: "LoadedSAE", explaining: Explaining) -> "Examples":
    """Texts in which some of the SAE's latents fire, and texts in which they do not."""
    return explaining.examples(sae)


@provides("explanations", reads=judge_asked)
def explanations(sae: "LoadedSAE", explaining: Explaining, examples: "Examples") -> "Explanations":
    """What the judge takes these latents to be about."""
    return explaining.explanations(sae)


@provides("detected", reads=judge_asked)
def detected(sae: "LoadedSAE", explaining: Explaining, explanations: "Explanations") -> "Judged":
    """On which other texts the judge expects them to fire, beside the truth and controls."""
    return explaining.detected(sae)


@provides("fuzzed", reads=judge_asked)
def fuzzed(sae: "LoadedSAE", explaining: Explaining, explanations: "Explanations") -> "Judged":
    """On which tokens of a text the judge expects them to fire, likewise."""
    return explaining.fuzzed(sae)


@provides("likeness", reads=judge_asked)
def likeness(sae: "LoadedSAE", explaining: Explaining, explanations: "Explanations") -> "Likeness":
    """How often they fire on new texts that are like those in which they fired."""
    return explaining.likeness(sae)
