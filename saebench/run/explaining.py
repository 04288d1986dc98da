"""Latents, texts in which they fire, and what a judge makes of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.record.score import Unscored
from saebench.run.judges import Judges
from saebench.run.models import Models
from saebench.run.random_model import of_random_model
from saebench.run.shelf import Shelf
from saebench.toy.worlds import is_toy

if TYPE_CHECKING:
    from saebench.evidence.examples import Examples
    from saebench.evidence.judged import Judged, Likeness
    from saebench.evidence.trace import Encoded
    from saebench.judges.exact import Exact
    from saebench.judges.judge import Explanations, Judge
    from saebench.judges.language import Language
    from saebench.saes.sae import LoadedSAE
    from saebench.subject.activations import Activations
    from saebench.subject.corpora import Corpus
    from saebench.subject.subject import Subject

NEW = 1600
"""Documents of the world before those that are new: behind all that anything else is measured on, and none was trained on."""
MOST_NEW = 400


@dataclass
class Explaining:
    """Whatever takes a judge's time is asked for once, and for the random model once for all SAEs of a place."""

    models: Models
    judges: Judges
    shelf: Shelf

    def texts(self, spec: SAESpec) -> "Corpus":
        """The run's documents, in contexts as long as those that the SAE was trained on."""
        from saebench.subject.cut import Cut

        corpus = self.models.corpus(spec)
        whole = is_toy(self.models.name(spec)) or (spec.context_size or corpus.context) >= corpus.context
        return corpus if whole else Cut(corpus, spec.context_size or corpus.context)

    def read(self, spec: SAESpec) -> str:
        """Name of the texts, and of how examples are chosen from them."""
        from saebench.evidence.examples import VERSION

        return f"{self.texts(spec).name}/{self.judges.latents(spec)} latents by examples {VERSION}"

    def examples(self, sae: "LoadedSAE") -> "Examples":
        """Of the SAE in its own model."""
        return self._examples(sae, self.models.subject(sae.spec))

    def _examples(self, sae: "LoadedSAE", subject: "Subject") -> "Examples":
        from saebench.evidence.examples import examples_of

        def make() -> "Examples":
            activations = self._activations(subject, sae.spec, self.texts(sae.spec))
            inside = min(sae.spec.context_size or activations.tokens.shape[1], activations.tokens.shape[1])
            return examples_of(self._encoded(sae, activations), activations, inside, self.judges.latents(sae.spec))

        return self.shelf.of(sae).get(("examples", sae.digest, subject.digest), make)

    def _activations(self, subject: "Subject", spec: SAESpec, corpus: "Corpus") -> "Activations":
        from saebench.subject.activations import compute_activations

        hook = self.models.hook(spec)
        assert subject.n_vocab  # of a toy, this says that there is no model
        make = partial(compute_activations, subject, hook, corpus, self.models.cache())
        return self.shelf.place.get(("activations", subject.digest, hook, hook, corpus.name), make, random=False)

    def _encoded(self, sae: "LoadedSAE", activations: "Activations") -> "Encoded":
        from saebench.evidence.trace import encode

        key = ("encoded", sae.digest, activations.subject.digest, activations.corpus.name)
        return self.shelf.of(sae).get(key, lambda: encode(sae, activations), random=False)

    def explanations(self, sae: "LoadedSAE") -> "Explanations":
        """One for each latent of the examples."""
        return self._explanations(sae, self.models.subject(sae.spec))

    def _explanations(self, sae: "LoadedSAE", subject: "Subject") -> "Explanations":
        judge = self.judges.of(sae.spec)  # first: without one, nothing needs to be read
        make = lambda: judge.explain(self._examples(sae, subject).shown)  # noqa: E731
        return self.shelf.of(sae).get(("explanations", sae.digest, subject.digest), make)

    def detected(self, sae: "LoadedSAE") -> "Judged":
        """Texts in which latents fire or not, with own and other explanations; beside an SAE of the random model."""
        from saebench.evidence.judged import detected

        return self._beside_random("detected", sae, detected)

    def fuzzed(self, sae: "LoadedSAE") -> "Judged":
        """Marked tokens on which latents fire or not, likewise."""
        from saebench.evidence.judged import fuzzed

        return self._beside_random("fuzzed", sae, fuzzed)

    def _beside_random(
        self, what: str, sae: "LoadedSAE", ask: "Callable[[Judge, Examples, Explanations], Judged]"
    ) -> "Judged":
        def asked(one: "LoadedSAE", subject: "Subject") -> "Judged":
            judge, said = self.judges.of(sae.spec), self._explanations(one, subject)
            make = lambda: ask(judge, self._examples(one, subject), said)  # noqa: E731
            return self.shelf.of(one).get((what, one.digest, subject.digest), make)

        own = asked(sae, self.models.subject(sae.spec))
        try:
            control = of_random_model(self.models, self.shelf, sae)
            return own if control is None else replace(own, random_model=asked(*control))
        except Unscored:
            return own

    def likeness(self, sae: "LoadedSAE") -> "Likeness":
        """How often new texts fire latents, written by the judge or by the world."""
        from saebench.judges.exact import Exact
        from saebench.judges.language import Language

        judge = self.judges.of(sae.spec)
        if isinstance(judge, Exact):
            return self._by_world(sae, judge)
        assert isinstance(judge, Language)
        return self._by_judge(sae, judge)

    def _by_world(self, sae: "LoadedSAE", judge: "Exact") -> "Likeness":
        from saebench.evidence.judged import firing_of, of_world
        from saebench.evidence.windows import windows_of
        from saebench.subject.corpora import WorldTexts
        from saebench.subject.cut import Cut

        texts, sizes = self.texts(sae.spec), self.models.options.sizes
        new = Cut(WorldTexts(min(sizes.documents, MOST_NEW), self.models.context(sae.spec), skip=NEW), texts.context)
        activations = self._activations(self.models.subject(sae.spec), sae.spec, new)
        encoded, examples = self._encoded(sae, activations), self.examples(sae)
        windows = windows_of(activations, activations.tokens.shape[1])
        fires = firing_of(encoded.latents, examples, windows)
        return of_world(judge, examples, self.explanations(sae), windows, fires)

    def _by_judge(self, sae: "LoadedSAE", judge: "Language") -> "Likeness":
        from saebench.evidence.judged import of_writing
        from saebench.run.written import fired_by

        examples = self.examples(sae)
        written = judge.write(examples.shown)
        writer, fires = fired_by(sae, self.models.subject(sae.spec), self.models.hook(sae.spec), examples, written)
        return of_writing(examples, writer, fires)
