"""Tests check the shapes of arrays at the borders of `saebench.metrics` and `saebench.evidence`, as annotations say them."""

import ast
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from inspect import getsource, isfunction
from random import Random
from types import ModuleType
from unittest.mock import patch

import jaxtyping
import pytest

# It checks one item of a list, drawn at random: not from the state that tests of the guard over SAEs compare.
with patch("random.getrandbits", Random(0).getrandbits):
    from beartype import BeartypeConf, beartype

# What is compiled is kept: tests start many processes, and each would compile all of this again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

CHECKED = ("saebench.metrics", "saebench.evidence")
TOWER = BeartypeConf(is_pep484_tower=True)
"""An int is a float, as mypy has it."""
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
"""The same, as the hook wants it."""
STAND_INS = {"test_an_operation_is_timed_until_the_gpu_has_finished"}
"""Tests that pass something else for a tensor, on purpose."""


class Finder(MetaPathFinder):
    """Finds what jaxtyping's hook finds, and has its modules know what they import for the type checker alone.

    Annotations name these; one whose names are not known would go unchecked. They are known before the module runs:
    imports go round in no circle, those for the type checker included, which `make lint` holds them to.
    """

    def __init__(self, hook: MetaPathFinder) -> None:
        self.hook = hook

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = self.hook.find_spec(name, path, target)
        if spec is not None and isinstance(loader := spec.loader, SourceFileLoader):
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                _import_for_types(module, loader.get_source(name) or "")
                run(module)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _import_for_types(module: ModuleType, source: str) -> None:
    for node in ast.parse(source).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec("\n".join(map(ast.unparse, node.body)), vars(module))


def _check_in_place(module: ModuleType) -> None:
    """For what the plugin has imported before there was a hook."""
    _import_for_types(module, getsource(module))
    for name, value in list(vars(module).items()):
        if isfunction(value) and value.__module__ == module.__name__:
            setattr(module, name, jaxtyping.jaxtyped(typechecker=beartype(conf=TOWER))(value))


def pytest_runtest_setup(item: pytest.Item) -> None:
    jaxtyping.config.update("jaxtyping_disable", item.name in STAND_INS)


for early in [module for name, module in sys.modules.items() if name.startswith(CHECKED)]:
    _check_in_place(early)
sys.meta_path.insert(0, Finder(jaxtyping.install_import_hook(CHECKED, CHECKER).hook))
