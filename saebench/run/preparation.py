"""What is done before a run: SAEs, models and texts are fetched and fitted together, by their names and headers alone.

What is wrong with one SAE of several is kept beside its name, and does not hold up the others.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from saebench.catalogue.spec import SAESpec
from saebench.hub.fit import check_files, check_fit
from saebench.hub.hooks import unsaid
from saebench.hub.hub import Unreachable
from saebench.hub.labels import labels_of
from saebench.hub.needs import Made, Need, Say, ensure, of_cloze, of_corpus, of_labels, of_model, of_sae, of_tokenizer
from saebench.hub.texts import Source, source_of
from saebench.record.naming import one_sentence, shown_model
from saebench.run.architectures import Architectures
from saebench.run.cloze import Cloze
from saebench.run.holder import Holder
from saebench.run.models import Models
from saebench.toy.worlds import is_toy


@dataclass
class Preparation:
    """Whatever can go wrong does so here, in one sentence, before anything heavy is loaded."""

    specs: list[SAESpec]
    models: Models
    holder: Holder
    architectures: Architectures
    cloze: Cloze
    done: bool = False

    def prepare(self, say: Say) -> None:
        """Fetch what the run will need, and check that all of it fits together.

        Raises ValueError or OSError with one sentence. What is said is said once, however often it is called.
        """
        if not self.done:
            self._prepare(say)
        self.done = True

    @one_sentence
    def _prepare(self, say: Say) -> None:
        asked: list[Need | Made] = [*of_cloze(self.cloze.given)]  # a file is read at once
        if self.models.options.labels is not None:
            asked += of_labels(labels_of(self.models.options.labels))
        # SAEs come first: their files say which model they need.
        self._each(_check_readable)
        self._fetch_saes(say)
        for spec in self._own():
            self.architectures.check(spec)
        self._each(check_files)
        self._each(self._check_said)
        models = [need for model in self._models() for need in of_model(model)]
        texts = [need for source in self._sources() for need in of_corpus(source)]
        ensure([*models, *texts, *asked], say)
        self._compare_tokenizers(say)
        self._each(lambda spec: check_fit(spec, self.models.name(spec), chosen=self.models.options.model is not None))
        self._each(self.models.context)
        self._check_room()  # last, since it imports torch
        for sentence in dict.fromkeys(self.holder.unreadable.values()):
            say(sentence)

    def prepare_suite(self, suite: str, needs: Callable[[SAESpec], Sequence[Need | Made]], say: Say) -> None:
        """Fetch what one suite alone needs. Where that fails it is said, and only the tests that ask for it fail."""
        for wanted in {self.models.name(spec.own): needs(spec) for spec in self.readable()}.values():
            try:
                ensure(wanted, say)
            except (ValueError, OSError) as error:
                say(f"{suite}: {error}")

    def _check_room(self) -> None:
        from saebench.subject.room import check_room

        for model in (model for model in self._models() if not is_toy(model)):
            check_room(model, self.models.device(), self.models.dtype(model))

    def readable(self) -> list[SAESpec]:
        """The SAEs that nothing is wrong with so far."""
        return [spec for spec in self.specs if spec.name not in self.holder.unreadable]

    def _each(self, check: Callable[[SAESpec], object]) -> None:
        """Check every SAE that nothing is wrong with so far. Raises what was raised last where none is left."""
        failed: dict[str, Exception] = {}
        for spec in self.readable():
            try:
                check(spec.own)
            except (ValueError, OSError) as error:
                failed[str(error)] = error
                self.holder.unreadable[spec.name] = _naming(spec.own, str(error))
        if failed and not self.readable():
            first, *others = dict.fromkeys(self.holder.unreadable.values())
            if others and len(failed) == 1:  # one reason for all of them
                raise failed.popitem()[1]
            raise type(failed.popitem()[1])(
                first + (f"; {len(others)} more SAEs cannot be read either" if others else "")
            )

    def _check_said(self, spec: SAESpec) -> None:
        """Its model, and its hook where no file of it can say it later."""
        self.models.name(spec)
        if unsaid(spec):
            self.models.hook(spec)

    def _fetch_saes(self, say: Say) -> None:
        """All together where that goes well, so that it is said at once how much it is; else each on its own."""
        needs: dict[str, list[Need]] = {}
        self._each(lambda spec: needs.setdefault(spec.name, of_sae(spec)))
        try:
            ensure([need for several in needs.values() for need in several], say)
        except Unreachable:
            if all(map(_lacking, needs.values())):
                raise
            self._each(lambda spec: _check_here(needs[spec.name]))
        except (ValueError, OSError):
            if len(needs) == 1:
                raise
            self._each(lambda spec: ensure(needs[spec.name], say))

    def _compare_tokenizers(self, say: Say) -> None:
        """Fetch the tokenizers of the SAEs' own models, where the user has named another one."""
        own = (
            {spec.model for spec in self._own() if spec.model is not None} if self.models.options.model else set[str]()
        )
        for model in sorted(own - {str(self.models.options.model)}):
            try:
                ensure(of_tokenizer(model), say)
            except OSError:
                say(
                    f"the tokenizer of {model} is not here: whether it is that of {self.models.options.model} is not known"
                )

    def needed(self) -> str:
        """What the run reads, in words."""
        sources = [source.name for source in self._sources() if source is not None]
        return ", ".join([f"{len(self.readable())} SAEs", *map(shown_model, self._models()), *sources])

    def _own(self) -> list[SAESpec]:
        return [spec.own for spec in self.readable()]

    def _models(self) -> list[str]:
        named = [self.models.name(spec) for spec in self._own()]
        return list(dict.fromkeys(named or ([self.models.options.model] if self.models.options.model else [])))

    def _sources(self) -> list[Source | None]:
        found = [self.models.source(spec) for spec in self._own()]
        return list(
            dict.fromkeys(found or ([source_of(self.models.options.texts)] if self.models.options.texts else []))
        )


def _naming(spec: SAESpec, sentence: str) -> str:
    return sentence if spec.name in sentence else f"{spec.name}: {sentence}"


def _check_readable(spec: SAESpec) -> None:
    if spec.loader == "unreadable":
        raise ValueError(spec.facts["unreadable"])


def _lacking(needs: Iterable[Need]) -> list[str]:
    return [file for need in needs for file in need.lacking()]


def _check_here(needs: list[Need]) -> None:
    if lacking := _lacking(needs):
        raise OSError(f"{needs[0].what} is not in the cache ({', '.join(lacking)}), and the hub cannot be asked for it")
