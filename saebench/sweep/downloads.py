"""What a sweep will have to download, by what is not in this machine's cache; nobody is asked for it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from saebench.catalogue.spec import SAESpec
from saebench.hub.files import missing
from saebench.hub.hub import gigabytes
from saebench.hub.listing import BYTES
from saebench.hub.needs import Made, Need, of_corpus, of_model
from saebench.run.models import Models
from saebench.run.options import Options
from saebench.run.shelf import Shelf
from saebench.sweep.asked import Asked

T = TypeVar("T")


def downloads(asked: Asked, specs: Sequence[SAESpec]) -> list[str]:
    """Sentences about SAEs, models and texts that are not here."""
    models = Models(Options(model=asked.option("model"), texts=asked.option("corpus")), Shelf())
    own = list({spec.own.name: spec.own for spec in specs}.values())
    lacking = [spec for spec in own if spec.loader == "files" and _lacks(spec)]
    names = dict.fromkeys(filter(None, (_tried(partial(models.name, spec)) for spec in own)))
    sources = dict.fromkeys(filter(None, (_tried(partial(models.source, spec)) for spec in own)))
    needs = [need for name in names for need in _tried(partial(of_model, name)) or []]
    needs += [need for source in sources for need in _tried(partial(of_corpus, source)) or []]
    return [*([_size(lacking)] if lacking else []), *_whats(needs)]


def _whats(needs: Iterable[Need | Made]) -> list[str]:
    return list(dict.fromkeys(need.what for need in needs if _tried(need.lacking)))


def _lacks(spec: SAESpec) -> bool:
    return bool(_tried(partial(missing, spec)))


def _tried(ask: Callable[[], T]) -> T | None:
    """What is wrong with an SAE is for its own run to say."""
    try:
        return ask()
    except (ValueError, OSError):
        return None


def _size(lacking: Sequence[SAESpec]) -> str:
    known = [2 * BYTES * spec.d_in * spec.d_sae for spec in lacking if spec.d_in and spec.d_sae]
    unknown = f", and {len(lacking) - len(known)} of unknown size" if len(known) < len(lacking) else ""
    return f"{len(lacking)} SAEs, about {gigabytes(sum(known))}{unknown}"
