"""What latents mean: to phrases, and to a judge."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.run.explaining import Explaining
from saebench.run.judges import Judges
from saebench.run.phrases import Phrases

if TYPE_CHECKING:
    from saebench.evidence.examples import Examples
    from saebench.evidence.judged import Judged, Likeness
    from saebench.evidence.phrases.decomposed import Decomposed
    from saebench.judges.judge import Explanations
    from saebench.saes.sae import LoadedSAE


def phrases_read(spec: SAESpec, phrases: Phrases, source: str) -> str:
    """Name of the phrases that features are taken apart with, and of who named the features."""
    return phrases.read(spec, source)


def examples_read(spec: SAESpec, explaining: Explaining) -> str:
    """Name of the texts that latents' examples are from, and of how these are chosen."""
    return explaining.read(spec)


def judge_asked(spec: SAESpec, judges: Judges) -> str:
    """Who explains and judges, with which prompts."""
    return judges.name(spec)


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
