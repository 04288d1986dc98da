"""Evidence by name: how it is declared, and what is declared where, told without importing anything heavy.

A function below `saebench/evidence/` or `saebench/run/evidence/` that is marked with `provides` makes what a suite's
test asks for by the name of an argument. Its own arguments say what it needs: `sae`, other evidence, a service of the run
(`saebench.run.run.Run`), `budget`, or what the test is parametrized with.
"""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from saebench.record.places import package_dir

PLACES = ("evidence", "run/evidence")
"""Where evidence is declared, below the package."""


@dataclass(frozen=True)
class Provider:
    """A function that makes evidence, and whether the texts or data that it reads are part of a score's identity."""

    make: Callable[..., Any]
    reads: Callable[..., str] | None
    """Its arguments, by name as `make`'s but with `spec` for `sae`, give the name of what is read; None for nothing."""
    of_model: bool
    """Whether a language model has a part in it."""


def provides(
    name: str, *, reads: Callable[..., str] | None = None, of_model: bool = True
) -> Callable[[Callable[..., Any]], Provider]:
    """Mark a function as what makes the evidence `name`, computed once per SAE and parameters.

    The function is given what its arguments name, and may raise `Unscored`. Its docstring is what `pytest --fixtures`
    prints. See `Provider` for the rest.
    """
    del name  # read from the source, where nothing needs to be imported
    return lambda make: Provider(make, reads, of_model)


@dataclass(frozen=True)
class Declared:
    """Evidence that there is, and where."""

    name: str
    module: str
    function: str
    arguments: tuple[str, ...]
    doc: str

    def provider(self) -> Provider:
        """Import it."""
        provider: Provider = getattr(importlib.import_module(self.module), self.function)
        return provider


@cache
def declared() -> dict[str, Declared]:
    """All evidence by name. Raises ValueError where two functions provide the same."""
    found: dict[str, Declared] = {}
    for one in (one for path in _files() for one in _declared_in(path)):
        if one.name in found:
            raise ValueError(f"{one.name} is provided by {found[one.name].module} and by {one.module}")
        found[one.name] = one
    return found


def closure(names: Iterable[str]) -> list[str]:
    """Evidence that a test asks for by these names, and what that is made of, in alphabetical order."""
    known, found, left = declared(), set[str](), list(names)
    while left:
        name = left.pop()
        if name in known and name not in found:
            found.add(name)
            left += known[name].arguments
    return sorted(found)


def call(function: Callable[..., Any], get: Callable[[str], Any]) -> Any:
    """Call a function with what its arguments name; an argument with a default need not be there to get."""
    given = {}
    for parameter in inspect.signature(function).parameters.values():
        try:
            given[parameter.name] = get(parameter.name)
        except KeyError:
            if parameter.default is parameter.empty:
                raise
    return function(**given)


def _files() -> list[Path]:
    places = [package_dir() / place for place in PLACES]
    return [path for place in places for path in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]


def _declared_in(path: Path) -> Iterator[Declared]:
    module = ".".join(path.relative_to(package_dir().parent).with_suffix("").parts)
    source = path.read_text(encoding="utf-8")
    for node in ast.parse(source).body if "@provides(" in source else []:
        if isinstance(node, ast.FunctionDef) and (name := _name(node)):
            arguments = tuple(argument.arg for argument in node.args.args)
            yield Declared(name, module, node.name, arguments, ast.get_docstring(node) or "")


def _name(function: ast.FunctionDef) -> str | None:
    """What `@provides("NAME", …)` names."""
    for mark in function.decorator_list:
        match mark:
            case ast.Call(func=ast.Name(id="provides"), args=[ast.Constant(value=str(name)), *_]):
                return name
    return None
