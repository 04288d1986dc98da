"""`package.module:callable`: any Python callable without arguments that returns an object with `encode`."""

import importlib
import inspect
import operator
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from saebench.sae import SAE, LoadedSAE, digest_of
from saebench.spec import SAESpec


def load(spec: SAESpec, device: str) -> LoadedSAE:
    """Call the callable. Its hook and training context are read off the object, if it names them."""
    source = _call(spec)
    if hasattr(source, "to"):
        source = source.to(device)
    if not isinstance(source, SAE):
        raise ValueError(f"{spec.name}: the object it returned, a {type(source).__name__}, has no encode")
    told = {
        name: getattr(source, name)
        for name in ("hook", "context_size", "model", "architecture")
        if hasattr(source, name)
    }
    return LoadedSAE(replace(spec, **told), source, digest_of(source, spec.location, _code(source)), device)


def _call(spec: SAESpec) -> Any:
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


def _code(source: Any) -> str:
    """Source of the class's module, so that stored scores do not outlive a change of code."""
    try:
        return inspect.getsource(sys.modules[type(source).__module__])
    except (OSError, TypeError, KeyError):
        return type(source).__qualname__
