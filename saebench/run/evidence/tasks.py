"""What the model can still do with an SAE spliced in, and what it forgets through it."""

from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.evidence.provider import provides
from saebench.run.cloze import INSIDE, Cloze
from saebench.run.topics import Topics

if TYPE_CHECKING:
    from saebench.evidence.cloze import Answered
    from saebench.evidence.unlearning.unlearned import Unlearned
    from saebench.saes.sae import LoadedSAE


def questions_read(spec: SAESpec, cloze: Cloze) -> str:
    """Name of the cloze questions whose passages fit into the SAE's training context."""
    return cloze.name(spec, INSIDE)


def longer_questions_read(spec: SAESpec, cloze: Cloze, passages: str) -> str:
    """Name of those that are longer."""
    return cloze.name(spec, passages)


def topic_read(spec: SAESpec, topics: Topics) -> str:
    """Name of the texts and questions of what a model is to forget."""
    return topics.name(spec)


@provides("answered", reads=questions_read)
def answered(sae: "LoadedSAE", cloze: Cloze) -> "Answered":
    """Cloze questions whose passages fit into the SAE's training context, answered with it spliced in and without."""
    return cloze.answered(sae)


@provides("answered_beyond", reads=longer_questions_read)
def answered_beyond(sae: "LoadedSAE", cloze: Cloze, passages: str) -> "Answered":
    """The same after passages that are longer, which the test is parametrized with: `beyond` or `far`."""
    return cloze.answered(sae, passages)


@provides("unlearned", reads=topic_read)
def unlearned(sae: "LoadedSAE", topics: Topics) -> "Unlearned":
    """What the model forgets when latents that fire on a topic are clamped, and what else goes wrong."""
    return topics.unlearned(sae)
