"""What is done before a run: SAEs, models and texts are fetched and fitted together, by their names and headers alone."""

from typing import TYPE_CHECKING

from saebench.naming import one_sentence
from saebench.needs import Say, check_files, check_fit, ensure, of_corpus, of_model, of_sae, of_tokenizer
from saebench.texts import Source, source_of

if TYPE_CHECKING:
    from saebench.run import Run


@one_sentence
def prepare(run: "Run", say: Say) -> None:
    """See `Run.prepare`. SAEs come first: their files say which model they need."""
    from saebench.subject import check_room

    specs = [run.own(spec) for spec in run.specs]
    ensure([need for spec in specs for need in of_sae(spec)], say)
    for spec in specs:
        run.architectures.check(spec)
        check_files(spec)
    models = [need for model in _models(run) for need in of_model(model)]
    ensure([*models, *(need for source in _sources(run) for need in of_corpus(source))], say)
    _compare_tokenizers(run, say)
    for spec in specs:
        check_fit(spec, run.model_name(spec), chosen=run.model is not None)
    for model in _models(run):
        check_room(model, run.resolved_device(), run.dtype_of(model))


def _compare_tokenizers(run: "Run", say: Say) -> None:
    """Fetch the tokenizers of the SAEs' own models, where the user has named another one."""
    own = {spec.model for spec in map(run.own, run.specs) if spec.model is not None} if run.model else set[str]()
    for model in sorted(own - {str(run.model)}):
        try:
            ensure(of_tokenizer(model), say)
        except OSError:
            say(f"the tokenizer of {model} is not here: whether it is that of {run.model} is not known")


def needed(run: "Run") -> str:
    """What a run reads, in words."""
    sources = [str(source) for source in _sources(run) if source is not None]
    return ", ".join([f"{len(run.specs)} SAEs", *_models(run), *sources])


def _models(run: "Run") -> list[str]:
    named = [run.model_name(run.own(spec)) for spec in run.specs]
    return list(dict.fromkeys(named or ([run.model] if run.model else [])))


def _sources(run: "Run") -> list[Source | None]:
    found = [run.source(run.own(spec)) for spec in run.specs]
    return list(dict.fromkeys(found or ([source_of(run.texts)] if run.texts else [])))
