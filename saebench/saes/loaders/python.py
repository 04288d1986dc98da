"""`package.module:callable`: any Python callable without arguments that returns an object with `encode`."""

import importlib
import operator
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saebench.catalogue.spec import SAESpec
from saebench.hub.models import width_of
from saebench.record.places import ORGANISM
from saebench.record.score import Unscored
from saebench.saes.behaviour import Behaviour, behaviour, inputs
from saebench.saes.digests import Held, digest, held_by, objects, walk
from saebench.saes.guard import guard, unreadable
from saebench.saes.loaders.normalised import normalised
from saebench.saes.loaders.sparse_coder import Dense, is_sparse_coder
from saebench.saes.loaders.stated import is_sae_lens, told_by
from saebench.saes.sae import SAE, LoadedSAE
from saebench.saes.unmade import Unmade

WIDTHS, WIDEST = 12, 2**16
"""Most numbers of dimensions, and the largest, that are tried where an object does not say how many it reads."""
DOUBT = (
    "its code changes torch's {} for the whole process: that was put back once it was loaded, and it computes without"
)
UNKNOWN = "it does not say how many dimensions it reads: give it an attribute `d_in`"


def load(spec: SAESpec, device: str) -> LoadedSAE:
    """Call the callable. Where it reads, and what else it says of itself, is read off the object."""
    with _reading(spec) as changed:
        source, config = _with_configuration(_called(spec))
        source = _moved(source, device)
        told = told_by(source, spec, config)
        sae, before = LoadedSAE(told, _usable(source, spec), "", device), held_by(source)
    seen = _seen(sae, source)
    if told.d_sae not in (None, seen.d_sae or told.d_sae):
        raise ValueError(f"{spec.name} says that it has {told.d_sae} latents, and encode returns {seen.d_sae}")
    with _reading(spec):
        held = _ever(before, held_by(source))
    used = Unmade(Unscored(seen.refused, broken=True)) if seen.refused else sae.source
    doubts = tuple(DOUBT.format(name) for name in changed)
    found = digest(held, spec.location, seen.fingerprint)
    return replace(sae, source=used, digest=found, doubts=doubts, unresumable=seen.unknown)


def _reading(spec: SAESpec) -> AbstractContextManager[list[str]]:
    return guard(partial(unreadable, spec.name))


def _called(spec: SAESpec) -> Any:
    module_name, _, attribute = spec.location.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"{spec.name}: {error}") from error
    try:
        make = operator.attrgetter(attribute)(module)
    except AttributeError:
        raise ValueError(f"{spec.name}: module {module_name} has no {attribute}") from None
    return make()


def _with_configuration(made: Any) -> tuple[Any, Any]:
    """dictionary_learning's `load_dictionary` returns the dictionary and its configuration."""
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Mapping):
        return made
    return made, None


def _moved(source: Any, device: str) -> Any:
    if callable(getattr(source, "to", None)):
        moved = source.to(device)
        source = source if moved is None else moved
    _at_rest(source)
    return source


def _at_rest(source: Any) -> None:
    """Nothing in it is in training, where modules drop latents at random or follow the batch."""
    for module in objects(source, torch.nn.Module):
        module.eval()


def _usable(source: Any, spec: SAESpec) -> Any:
    """As its folder would be read, if it is of a library whose objects encode in another way."""
    if is_sparse_coder(source):
        return Dense(source)
    if is_sae_lens(source):
        source.turn_off_forward_pass_hook_z_reshaping()
        try:
            return normalised(source)
        except ValueError as error:
            raise ValueError(f"{spec.name}: {error}") from error
    if not isinstance(source, SAE):
        raise ValueError(f"{spec.name}: the object it returned, a {type(source).__name__}, has no encode")
    return source


def _seen(sae: LoadedSAE, source: Any) -> Behaviour:
    """What it does with activations of the width that it says, or of one that any of its weights has."""
    told = sae.spec.d_in
    for d_in in [told] if told else _widths(sae.spec, source):
        with suppress(Unscored):
            sae.encode(inputs(d_in)[:1].to(sae.device))  # which may be when it loads its weights
        with _reading(sae.spec):
            _at_rest(source)
        seen = behaviour(sae, d_in)
        if told or not seen.unknown:
            return seen
    return Behaviour("", unknown=UNKNOWN)


def _widths(spec: SAESpec, source: Any) -> list[int]:
    """That of its model, of what SAEs read with, and those that occur most often in what it holds."""
    held = list(walk(source))
    shapes = [(path, tuple(value.shape)) for path, value in held if isinstance(value, Tensor | np.ndarray)]
    first = [shape[0] for path, shape in shapes if path.endswith(".W_enc") and shape]
    first += [shape[-1] for path, shape in shapes if path.endswith(".W_dec") and shape]
    counted = Counter(size for _, shape in shapes for size in shape if size > 1).most_common()
    numbers = [value for _, value in held if type(value) is int and 1 < value < WIDEST]
    with suppress(OSError, ValueError):
        first += [width_of(spec.model or ORGANISM) or 1]
    return list(dict.fromkeys([*first, *(size for size, _ in counted), *numbers]))[:WIDTHS]


def _ever(before: Held, after: Held) -> Held:
    """What it held before it was first asked, and what it has only held since then."""
    held = [(path, value) for path, value in before if value != repr(None)]
    known = {path for path, _ in held}
    return [*held, *((path, value) for path, value in after if path not in known)]
