"""What is known of each format of SAEs: one module per format, of data, which nothing heavy is needed to read.

Everything in a configuration and every array of a checkpoint is obeyed, known to be harmless, or refused in one
sentence that names it: what is not understood is never ignored.
"""

from importlib import import_module
from pkgutil import iter_modules

from saebench.catalogue.layouts.format import Format


def _all() -> dict[str, Format]:
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {name: known for module in modules for name, known in getattr(module, "FORMATS", {}).items()}


FORMATS = _all()
"""Those of all modules here, by the name of sae-lens's converter where it has one."""
