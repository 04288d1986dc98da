"""What code a module consists of: its own file and those that it imports, but for installed packages."""

import hashlib
import importlib.metadata
import importlib.util
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from modulefinder import ModuleFinder
from pathlib import Path

from saebench.catalogue.architectures import ARCHITECTURES


@cache
def source_digest(location: str) -> str:
    """sha256 over the code behind `package.module:attribute`; nothing is imported.

    Of an installed package it is its version, as it is of what such packages are imported for.
    """
    if location in ARCHITECTURES:
        return location
    module = location.partition(":")[0]
    top = module.partition(".")[0]
    spec = PathFinder.find_spec(top, [str(Path.cwd())]) or importlib.util.find_spec(top)
    root = _root(spec)
    if root is None or root in {Path(path).resolve() for path in sysconfig.get_paths().values()}:
        names = importlib.metadata.packages_distributions().get(top, [])
        return " ".join([module, *(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))])
    return _digest(root, module)


def _root(spec: ModuleSpec | None) -> Path | None:
    """The folder from which a top-level module or package is imported."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve().parent
    return Path(spec.origin).resolve().parent if spec.origin else None


def _digest(root: Path, module: str) -> str:
    finder = ModuleFinder(path=[str(root)])
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    # In a folder that is no package, a finder of modules finds none.
    if file.is_file() and not (file.parent / "__init__.py").exists():
        finder.run_script(str(file))
    else:
        finder.import_hook(module)
    files = {name: getattr(found, "__file__", None) for name, found in finder.modules.items()}
    sha = hashlib.sha256()
    for name, path in sorted(files.items()):
        sha.update(name.encode() + Path(path).read_bytes() if path else b"")
    return sha.hexdigest()
