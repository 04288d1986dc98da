"""What is done before a run: SAEs, models and texts are fetched and fitted together, by their names and headers alone.

What is wrong with one SAE of several is kept beside its name, and does not hold up the others.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from saebench.catalogue.spec import SAESpec
from saebench.hub.hooks import unsaid
from saebench.hub.hub import Unreachable
from saebench.hub.needs import Need, Say, check_files, check_fit, ensure, of_corpus, of_model, of_sae, of_tokenizer
from saebench.hub.texts import Source, source_of
from saebench.record.naming import one_sentence

if TYPE_CHECKING:
    from saebench.run.run import Run


@one_sentence
def prepare(run: "Run", say: Say) -> None:
    """See `Run.prepare`. SAEs come first: their files say which model they need."""
    _each(run, _check_readable)
    _fetch_saes(run, say)
    for spec in _own(run):
        run.architectures.check(spec)
    _each(run, check_files)
    _each(run, lambda spec: _check_said(run, spec))
    models = [need for model in _models(run) for need in of_model(model)]
    ensure([*models, *(need for source in _sources(run) for need in of_corpus(source))], say)
    _compare_tokenizers(run, say)
    _each(run, lambda spec: check_fit(spec, run.model_name(spec), chosen=run.model is not None))
    _check_room(run)  # last, since it imports torch
    for sentence in dict.fromkeys(run.unreadable.values()):
        say(sentence)


def _check_room(run: "Run") -> None:
    from saebench.subject.subject import check_room

    for model in _models(run):
        check_room(model, run.resolved_device(), run.dtype_of(model))


def settle(run: "Run", before: SAESpec, spec: SAESpec) -> None:
    """The same for an SAE in memory, which may say what was not known before: where it reads, and in which model.

    Nothing is downloaded in the middle of a test. Raises ValueError or OSError with one sentence that names it, before
    its model is loaded.
    """
    model = run.model_name(spec)
    run.hook(spec)
    for need in (*of_model(model), *of_corpus(run.source(spec))):
        if need.lacking():
            advice = f"saebench fetch --sae-model {model}"
            raise ValueError(f"{spec.name} reads {need.what}, which is not on this machine: {advice}")
    if (spec.hook, spec.hook_out, spec.model) != (before.hook, before.hook_out, before.model):
        check_fit(spec, model, chosen=run.model is not None)


def _each(run: "Run", check: Callable[[SAESpec], object]) -> None:
    """Check every SAE that nothing is wrong with so far. Raises what was raised last where none is left."""
    failed: dict[str, Exception] = {}
    for spec in run.readable():
        try:
            check(run.own(spec))
        except (ValueError, OSError) as error:
            failed[str(error)] = error
            run.unreadable[spec.name] = _naming(run.own(spec), str(error))
    if failed and not run.readable():
        first, *others = dict.fromkeys(run.unreadable.values())
        if others and len(failed) == 1:  # one reason for all of them
            raise failed.popitem()[1]
        raise type(failed.popitem()[1])(first + (f"; {len(others)} more SAEs cannot be read either" if others else ""))


def _naming(spec: SAESpec, sentence: str) -> str:
    return sentence if spec.name in sentence else f"{spec.name}: {sentence}"


def _check_readable(spec: SAESpec) -> None:
    if spec.loader == "unreadable":
        raise ValueError(spec.facts["unreadable"])


def _check_said(run: "Run", spec: SAESpec) -> None:
    """Its model, and its hook where no file of it can say it later."""
    run.model_name(spec)
    if unsaid(spec):
        run.hook(spec)


def _fetch_saes(run: "Run", say: Say) -> None:
    """All together where that goes well, so that it is said at once how much it is; else each on its own."""
    needs: dict[str, list[Need]] = {}
    _each(run, lambda spec: needs.setdefault(spec.name, of_sae(spec)))
    try:
        ensure([need for several in needs.values() for need in several], say)
    except Unreachable:
        if all(map(_lacking, needs.values())):
            raise
        _each(run, lambda spec: _check_here(needs[spec.name]))
    except (ValueError, OSError):
        if len(needs) == 1:
            raise
        _each(run, lambda spec: ensure(needs[spec.name], say))


def _lacking(needs: Iterable[Need]) -> list[str]:
    return [file for need in needs for file in need.lacking()]


def _check_here(needs: list[Need]) -> None:
    if lacking := _lacking(needs):
        raise OSError(f"{needs[0].what} is not in the cache ({', '.join(lacking)}), and the hub cannot be asked for it")


def _compare_tokenizers(run: "Run", say: Say) -> None:
    """Fetch the tokenizers of the SAEs' own models, where the user has named another one."""
    own = {spec.model for spec in _own(run) if spec.model is not None} if run.model else set[str]()
    for model in sorted(own - {str(run.model)}):
        try:
            ensure(of_tokenizer(model), say)
        except OSError:
            say(f"the tokenizer of {model} is not here: whether it is that of {run.model} is not known")


def needed(run: "Run") -> str:
    """What a run reads, in words."""
    sources = [source.name for source in _sources(run) if source is not None]
    return ", ".join([f"{len(run.readable())} SAEs", *_models(run), *sources])


def _own(run: "Run") -> list[SAESpec]:
    return [run.own(spec) for spec in run.readable()]


def _models(run: "Run") -> list[str]:
    named = [run.model_name(spec) for spec in _own(run)]
    return list(dict.fromkeys(named or ([run.model] if run.model else [])))


def _sources(run: "Run") -> list[Source | None]:
    found = [run.source(spec) for spec in _own(run)]
    return list(dict.fromkeys(found or ([source_of(run.texts)] if run.texts else [])))
