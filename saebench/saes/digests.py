"""What an object holds, and the code that it runs, as one digest: a change of either is another SAE.

Weights may live in attributes, slots, classes, closures, or in globals that its functions name; code in helpers and base
classes. Of libraries the version counts. What this cannot see, `saebench.saes.behaviour` does.
"""

import functools
import hashlib
import importlib.metadata
import io
import logging
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saebench.record.places import package_dir

UNDIGESTED = {"saebench": "not part of the digest"}
"""Metadata of a dataclass's field that says nothing about what an SAE computes."""
RECORDED = ("torch", "sae_lens", "transformer_lens", "transformers", "numpy", "scipy", "saebench")
"""Their versions stand in every score, for SAEs of all kinds alike."""
Held = list[tuple[str, str]]
"""Where something stands in an object, and its fingerprint."""
PLAIN = (Tensor, str, int, float, complex, bytes, type(None), np.ndarray, np.generic)


def digest_of(source: Any, *facts: str) -> str:
    """sha256 over all that `source` holds, by its path in the object, and over `facts`."""
    return digest(held_by(source), *facts)


def digest(held: Held, *facts: str) -> str:
    sha = hashlib.sha256("\n".join(facts).encode())
    for path, fingerprint in sorted(held, key=lambda entry: entry[0]):
        sha.update(f"{path}:{fingerprint}\n".encode())
    return sha.hexdigest()


def held_by(source: Any) -> Held:
    return [(path, _fingerprint(value)) for path, value in walk(source)]


def walk(source: Any) -> Iterator[tuple[str, Any]]:
    """Every tensor, array, number and text in an object."""
    return _walk(source, "", {})


def objects(source: Any, kind: type) -> list[Any]:
    """Everything of a kind that the object holds, itself included."""
    seen: dict[int, Any] = {}
    list(_walk(source, "", seen))
    return [value for value in seen.values() if isinstance(value, kind)]


def _walk(value: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, PLAIN) and not (isinstance(value, np.ndarray) and value.dtype.hasobject):
        yield path, value
    elif id(value) not in seen:
        seen[id(value)] = value  # kept, since what is freed leaves its id to another
        for key, inner in _inside(value):
            yield from _walk(inner, f"{path}.{key}", seen)


def _fingerprint(value: Any) -> str:
    if isinstance(value, Tensor):
        value = value.to_dense() if value.layout is not torch.strided else value
        data = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return f"{tuple(value.shape)} {value.dtype} {hashlib.sha256(data).hexdigest()}"
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    return repr(value)


def _inside(value: Any) -> Iterable[tuple[Any, Any]]:
    match value:
        case list() | tuple():
            return enumerate(value)
        case np.ndarray():  # of objects
            return enumerate(value.ravel().tolist())
        case Mapping():
            return () if value is os.environ else value.items()
        case Set():
            return enumerate(sorted(value, key=digest_of))
        case PurePath():
            return [("path", str(value))]
        case type():
            return _of_class(value)
        case ModuleType():
            return _of_module(value)
        case FunctionType():
            return _of_function(value)
        case CodeType():
            return enumerate((value.co_code, value.co_consts, value.co_names))
        case MethodType():
            return [("self", value.__self__), ("function", value.__func__)]
        case functools.partial():
            return enumerate((value.func, value.args, value.keywords))
        case property():
            return enumerate((value.fget, value.fset))
        case staticmethod() | classmethod():
            return [("function", value.__func__)]
        case logging.Logger() | logging.Handler() | io.IOBase():  # behind which lies the whole process
            return ()
    return _buffer(value) or _attributes(value)


def _buffer(value: Any) -> list[tuple[str, Any]]:
    """A memoryview, a bytearray or an array of another library, as bytes."""
    with suppress(TypeError):
        return [("bytes", hashlib.sha256(memoryview(value).tobytes()).hexdigest())]
    return [("array", np.asarray(value))] if hasattr(type(value), "__array__") else []


def _attributes(value: Any) -> Iterator[tuple[Any, Any]]:
    hidden = {field.name for field in fields(value) if field.metadata == UNDIGESTED} if is_dataclass(value) else ()
    yield from ((name, inner) for name, inner in getattr(value, "__dict__", {}).items() if name not in hidden)
    kind = type(value)
    if not of_user(kind.__module__):
        return
    yield "class", kind
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ()) if of_user(base.__module__) else ()
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{base.__name__}{name}" if name.startswith("__") and not name.endswith("__") else name
            if hasattr(value, mangled):
                yield mangled, getattr(value, mangled)


def _of_class(kind: type) -> Iterator[tuple[str, Any]]:
    if not of_user(kind.__module__):
        return
    for base in kind.__mro__:
        yield from _version(base.__module__)
        if not of_user(base.__module__):
            continue
        yield base.__module__, sys.modules[base.__module__]
        for name, value in vars(base).items():
            if not (name.startswith("__") and name.endswith("__")) or isinstance(value, FunctionType):
                yield f"{base.__qualname__}.{name}", value


def _of_module(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Its text. What it holds counts where a function names it."""
    file = getattr(module, "__file__", None)
    if of_user(module.__name__) and file and Path(file).is_file():
        yield "text", hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Its module's text, and what its code names: variables around it, globals, and what modules hold by such a name."""
    module = sys.modules.get(function.__module__ or "")
    if not of_user(function.__module__):
        return
    yield (function.__module__, module) if getattr(module, "__file__", None) else ("code", function.__code__)
    yield "defaults", (function.__defaults__, function.__kwdefaults__)
    yield from function.__dict__.items()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not yet filled
            yield name, cell.cell_contents
    names = set(_names(function.__code__))
    for name in sorted(names):
        value = function.__globals__.get(name, sys.modules.get(name) if of_user(name) else None)
        yield from [(f"global {name}", value)] if value is not None else []
        if isinstance(value, ModuleType):
            yield from _version(value.__name__)
            if of_user(value.__name__):
                yield from ((f"{name}.{inner}", vars(value)[inner]) for inner in sorted(names & vars(value).keys()))
        else:
            yield from _version(getattr(value, "__module__", None))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _version(module: object) -> Iterator[tuple[str, str]]:
    """Of the distribution that a module of a library belongs to."""
    top = module.partition(".")[0] if isinstance(module, str) else ""
    if not top or top in RECORDED or top in sys.stdlib_module_names or of_user(module):
        return
    with suppress(importlib.metadata.PackageNotFoundError):
        yield f"version of {top}", importlib.metadata.version(top)


def of_user(module: object) -> bool:
    """Whether a module is the user's: no library's, and not a part of saebench."""
    found = sys.modules.get(module) if isinstance(module, str) else None
    file = getattr(found, "__file__", None)
    if file is None:
        return found is not None and getattr(found, "__spec__", None) is None
    return not _of_library(file)


@functools.cache
def _of_library(file: str) -> bool:
    """Whether a file is a library's or saebench's."""
    place = Path(file).resolve()
    return bool({"site-packages", "dist-packages"} & set(place.parts)) or any(map(place.is_relative_to, _foreign()))


@functools.cache
def _foreign() -> list[Path]:
    return [package_dir().resolve(), *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))]  # fmt: skip
