"""An SAE's files, held against what is known of their format, by headers alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar

from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.arrays import Sizes, check_sizes
from saebench.catalogue.layouts.format import SUFFIXES, Config, Format, filled
from saebench.catalogue.weights import Array, check_numbers, inspect
from saebench.record.json_files import read_json

P = ParamSpec("P")
T = TypeVar("T")
PICKLED = (".pt", ".pth")
"""Suffixes of torch checkpoints, whose headers are pickles."""
Find = Callable[[str], Path | None]
Header = Callable[[Path], Mapping[str, Array]]


def check(form: str, place: str, find: Find, pickled: Header | None = None) -> Sizes:
    """Hold an SAE's files against what is known of their format, by headers alone; the sizes that they agree on.

    `find` gives its files by name; `pickled` reads the arrays of torch checkpoints, which are left out without it.
    Raises ValueError with one sentence.
    """
    known = FORMATS[form]
    paths = {file: path for file in known.configs if (path := find(filled(file, place))) is not None}
    configs = {file: read_json(path) for file, path in paths.items()}
    for file, config in configs.items():
        _at(paths[file], known.fields_of, file, config).check(config, paths[file])
    own, sizes = next(iter(known.configs), ""), Sizes()
    for path in filter(None, (find(filled(file, place)) for file in known.files)):
        if path.suffix in SUFFIXES and (pickled or path.suffix not in PICKLED):
            arrays = pickled(path) if pickled and path.suffix in PICKLED else inspect(path)
            sizes = _sizes(known, configs.get(own, {}), arrays, path, paths.get(own, path))
    return sizes


def _sizes(format_: Format, config: Config, arrays: Mapping[str, Array], path: Path, said: Path) -> Sizes:
    known = _at(said, format_.arrays_of, config)
    sizes = known.check(arrays, path)
    check_numbers(path, {name: array for name, array in arrays.items() if name in known.shapes})
    check_sizes(config, format_.sizes, sizes, said, path.name)
    if format_.check:
        _at(said, format_.check, config, {*arrays})
    return sizes


def _at(where: Path, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Let what a file lacks be said with its name."""
    try:
        return function(*args, **kwargs)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
