"""Cloze questions for the model of an SAE, and what the model answers with the SAE spliced in."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from saebench.hub.cloze import ClozeSource, cloze_source
from saebench.hub.models import context_of
from saebench.organism import cloze as of_world
from saebench.organism.world import VERSION as WORLD
from saebench.record.score import Unscored
from saebench.run.models import Models
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.catalogue.spec import SAESpec
    from saebench.evidence.cloze import Answered, Prepared
    from saebench.record.questions import Question
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.posed import Posed
    from saebench.subject.subject import Subject

INSIDE = "inside"
BINS = {INSIDE: (0.5, 1.0), "beyond": (1.0, 2.0), "far": (2.0, 4.0)}
"""Lengths of passages in training contexts. Given questions that are shorter are inside as well."""


@dataclass
class Cloze:
    """Each question is asked of a model once for all SAEs at a hook."""

    models: Models
    shelf: Shelf

    @cached_property
    def given(self) -> ClozeSource | None:
        """What `--sae-cloze` names; None where questions are made here."""
        return None if self.models.options.cloze is None else cloze_source(self.models.options.cloze)

    def lengths(self, spec: "SAESpec", passages: str) -> tuple[int, int]:
        """Passages have more tokens than the first and at most as many as the second."""
        read = self.models.context(spec)
        trained = min(spec.context_size or read, read)
        low, high = (int(share * trained) for share in BINS[passages])
        return (0 if passages == INSIDE and self.given is not None else low), high

    def name(self, spec: "SAESpec", passages: str = INSIDE) -> str:
        """What is asked: part of the identity of scores."""
        if is_toy(self.models.name(spec)):
            return "no questions"
        from saebench.subject import cloze_of_texts

        given, source = self.given, self.models.source(spec)
        made = (
            f"world-{of_world.VERSION}@{WORLD}" if source is None else f"made-{cloze_of_texts.VERSION} of {source.name}"
        )
        low, high = self.lengths(spec, passages)
        how = "" if spec.prepend_bos else "/without-bos"
        asked = made if given is None else given.name
        return f"cloze {asked}{how}/{self.models.options.sizes.passages} of {low + 1}-{high} tokens"

    def answered(self, sae: "LoadedSAE", passages: str = INSIDE) -> "Answered":
        """Which questions are answered rightly. Raises Unscored where there are no such questions."""
        from saebench.evidence.cloze import answered

        prepared = self.prepared(sae.spec, passages)
        # One more pass per SAE is paid for where it is cheapest.
        noise = passages == INSIDE
        return self.shelf.sae.get((sae.digest, "answered", passages), lambda: answered(sae, prepared, noise=noise))

    def prepared(self, spec: "SAESpec", passages: str) -> "Prepared":
        """The questions, and the answers of the clean and of the ablated model."""
        from saebench.evidence.cloze import prepare

        subject, models = self.models.subject(spec), self.models
        if is_toy(models.name(spec)):
            raise Unscored(f"{models.name(spec)} is no language model: it has activations and nothing to be asked")
        self._check(spec, passages)
        hook, out, name = models.hook(spec), spec.hook_out, self.name(spec, passages)
        make = lambda: prepare(subject, hook, out, self._posed(subject, spec, passages, name), models.cache())  # noqa: E731
        return self.shelf.place.get(("cloze", subject.digest, hook, out, name), make, random=False)

    def _check(self, spec: "SAESpec", passages: str) -> None:
        """Raise Unscored where no passage is as long as is asked for."""
        if passages == INSIDE:
            return
        if spec.context_size is None:
            raise Unscored("the context that the SAE was trained on is unknown; name it as context_size")
        (_, high), positions = self.lengths(spec, passages), context_of(self.models.name(spec))
        read = self.models.context(spec) if self.given is None or positions is None else positions
        if high > read or spec.context_size >= read:
            more = (
                f"--sae-context {high} reads more"
                if positions is None or positions >= high
                else "the model has no more"
            )
            raise Unscored(f"passages have up to {high} tokens there, and {read} are read: {more}")

    def _posed(self, subject: "Subject", spec: "SAESpec", passages: str, name: str) -> "Posed":
        from saebench.subject.corpora import token_ids
        from saebench.subject.posed import pose

        count = lambda text: len(token_ids(subject.tokenizer, [text], bos=spec.prepend_bos)[0])  # noqa: E731
        low, high = self.lengths(spec, passages)
        questions, too_long = self._questions(spec, (low, high), count, subject.n_ctx)
        if not questions:
            more = f"; {too_long} are longer than the model's context of {subject.n_ctx}" if too_long else ""
            raise Unscored(f"{name}: there are no such questions{more}")
        posed = pose(name, questions, subject.tokenizer, subject.n_ctx, bos=spec.prepend_bos)
        return replace(posed, refused=posed.refused + too_long)

    def _questions(
        self, spec: "SAESpec", lengths: tuple[int, int], count: Callable[[str], int], positions: int
    ) -> "tuple[list[Question], int]":
        """Those of the lengths, and how many of all are longer than the model has positions."""
        most = self.models.options.sizes.passages
        if (given := self.given) is not None:
            sized = [(count(question.passage), question) for question in given.questions()]
            chosen = [question for size, question in sized if lengths[0] < size <= lengths[1]]
            return chosen[:most], sum(size > positions for size, _ in sized)
        if (source := self.models.source(spec)) is not None:
            from saebench.subject import cloze_of_texts

            texts = source.texts()[: self.models.corpus(spec).reserved]
            return cloze_of_texts.questions(texts, *lengths, most // 2, count), 0
        from saebench.organism.world import World
        from saebench.record.places import organism_folder

        return of_world.questions(World.load(organism_folder()), *lengths, most, count), 0
