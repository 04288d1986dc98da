"""Every array that passes a border of `metrics/` or `evidence/` has a shape that is said, and tests check it."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import jaxtyping
import numpy as np
import pytest
import torch
from paths import ROOT

from saebench.evidence.game.games import Table
from saebench.evidence.game.moves import rotated
from saebench.evidence.words.detectors import f1_of
from saebench.evidence.words.vocabulary import in_turn
from saebench.metrics.reconstruction import per_document

FILES = sorted(path for room in ("metrics", "evidence") for path in (ROOT / "saebench" / room).rglob("*.py"))
ARRAYS = {"Floats", "Ints", "Bools", "NDArray", "ndarray", "Tensor"}
SHAPES = {"Float", "Int", "Bool", "Num", "Shaped"}
FEWEST_CHECKED = 70
"""Public functions that say shapes; there were 75 when this was written."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def annotations(function: ast.FunctionDef) -> list[ast.expr]:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [said for said in (*(argument.annotation for argument in arguments), function.returns) if said]


def public(body: list[ast.stmt]) -> Iterator[tuple[str, list[ast.expr]]]:
    """Functions, and methods and fields of classes, with their annotations; names with an underscore are inner ones."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__call__"):
            yield node.name, annotations(node)
        elif isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
            yield ast.unparse(node.target), [node.annotation]
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from ((f"{node.name}.{name}", said) for name, said in public(node.body))


def bare(annotation: ast.AST) -> bool:
    """Whether an array is named outside of `Float[…]` and its like."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return bare(ast.parse(annotation.value))
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in SHAPES:
        return False
    name = getattr(annotation, "id", getattr(annotation, "attr", None))
    return name in ARRAYS or any(map(bare, ast.iter_child_nodes(annotation)))


def without_shape(source: str) -> list[str]:
    # A constant of a module is not passed at a border.
    constants = {ast.unparse(node.target) for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)}
    found = [name for name, said in public(ast.parse(source).body) if any(map(bare, said))]
    return [name for name in found if name not in constants]


def shaped(path: Path) -> list[str]:
    """Public functions of a file that say a shape."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    names = {
        node.name: {getattr(part, "id", "") for said in annotations(node) for part in ast.walk(said)}
        for node in functions
    }
    return [name for name, used in names.items() if used & SHAPES and not name.startswith("_")]


def is_checked(function: Any) -> bool:
    """Whether jaxtyping wraps it, and all names in its annotations are known."""
    while function is not None:
        if Path(function.__code__.co_filename).parent == Path(jaxtyping.__file__).parent:
            get_type_hints(function)
            return True
        function = getattr(function, "__wrapped__", None)
    return False


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_every_array_that_passes_a_border_has_a_shape(path: Path) -> None:
    assert without_shape(path.read_text()) == []


def test_an_array_without_a_shape_is_found() -> None:
    source = """
TABLE: dict[str, Floats] = {}
def says(x: Float[Tensor, "row d"]) -> dict[str, Int[np.ndarray, " row"]]: ...
def takes(*, x: Tensor | None): ...
def returns() -> "tuple[Bools, ...]": ...
def mixes(x: Float[Tensor, "row d"], y: np.ndarray): ...
def _inner(x: Tensor): ...
@dataclass
class Thing:
    kept: Float[Tensor, " row"]
    field: NDArray[np.intp]
    _hidden: Floats
    def method(self, call: Callable[[Tensor], None]): ...
"""
    assert without_shape(source) == ["takes", "returns", "mixes", "Thing.field", "Thing.method"]


def test_all_functions_that_say_shapes_are_checked() -> None:
    said = [(module_of(path), name) for path in FILES for name in shaped(path)]
    assert len(said) >= FEWEST_CHECKED
    assert [at for at in said if not is_checked(getattr(importlib.import_module(at[0]), at[1]))] == []


YES, IDS = np.ones((3, 2), dtype=bool), np.zeros((3, 2), dtype=np.intp)
WRONG = {
    "rows that differ": lambda: f1_of(YES, YES[:2]),
    "numbers for yes and no": lambda: f1_of(YES, YES.astype(float)),
    "an axis too few": lambda: per_document(torch.zeros(3), 2),
    "tensors of different widths": lambda: rotated(torch.zeros(4), torch.zeros(2, 5), torch.zeros(1)),
    "fields that do not fit": lambda: Table(np.zeros((3, 2)), np.zeros((2, 2)), IDS, IDS),
    "what the plugin imports": lambda: in_turn(["a", "b"], IDS),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_shape_is_found(what: str) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        WRONG[what]()


def test_right_shapes_pass() -> None:
    assert f1_of(YES, YES).tolist() == [1.0, 1.0]
    assert per_document(torch.ones(3, 4), 3).tolist() == [2.0, 2.0, 2.0]
