"""What the suites ask, and which metric answers: read from their sources, which are not imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

ORDER = (
    "reconstruction", "context_length", "downstream", "throughput", "sparse_probing", "first_letter", "absorption",
    "decomposability", "probe_perturbation", "disentanglement",
    "explanations", "meta_structure", "unlearning", "marginal_structure", "distinguishability", "known_truth",
)  # fmt: skip
"""Suites from the cheapest and surest to the dearest: in this order they run, and their questions stand on a board."""


def suite_questions(suites_dir: str | Path) -> dict[str, str]:
    """Map property family to the docstring of `test_<family>.py`."""
    found = {}
    for path in sorted(Path(suites_dir).glob("test_*.py")):
        if docstring := ast.get_docstring(_parsed(path)):
            found[path.stem.removeprefix("test_")] = " ".join(docstring.split())
    return found


def definitions(suites_dir: str | Path, metrics_dir: str | Path | None = None) -> dict[str, str]:
    """Map property to the first paragraph of the docstring of the metric that its test records."""
    metrics = Path(metrics_dir or Path(__file__).parent.parent / "metrics")
    said = {
        (path.stem, node.name): (ast.get_docstring(node) or "").partition("\n\n")[0]
        for path in sorted(metrics.glob("*.py"))
        for node in _parsed(path).body
        if isinstance(node, ast.FunctionDef)
    }
    tests = [node for path in sorted(Path(suites_dir).glob("test_*.py")) for node in _functions(path)]
    found = {name: said.get(metric, "") for test in tests for name in _properties(test) for metric in _recorded(test)}
    return {name: " ".join(text.split()) for name, text in found.items() if text}


def headlines(suites_dir: str | Path) -> list[str]:
    """Properties that stand for what their suites ask, `mark.score(NAME, …, headline=True)`, in the order of suites."""
    found: list[str] = []
    for path in sorted(Path(suites_dir).glob("test_*.py")):
        for mark in (mark for test in _functions(path) for mark in test.decorator_list):
            match mark:
                case ast.Call(func=ast.Attribute(attr="score"), args=[ast.Constant(value=str(name)), *_]):
                    given = {keyword.arg: keyword.value for keyword in mark.keywords}
                    if isinstance(chosen := given.get("headline"), ast.Constant) and chosen.value is True:
                        found.append(name)
    return sorted(found, key=lambda name: place(name.partition(".")[0]))


def place(family: str) -> int:
    """Where a suite comes among all: those that `ORDER` does not name come last."""
    return ORDER.index(family) if family in ORDER else len(ORDER)


def tests(suites_dir: str | Path) -> dict[str, list[str]]:
    """Map property to the node ids of the tests that score it."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(suites_dir).glob("test_*.py")):
        for test in _functions(path):
            for name in _properties(test):
                found.setdefault(name, []).append(f"{path}::{test.name}")
    return found


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in _parsed(path).body if isinstance(node, ast.FunctionDef))


def _properties(test: ast.FunctionDef) -> Iterator[str]:
    """What `@pytest.mark.score("NAME", …)` names."""
    for mark in test.decorator_list:
        match mark:
            case ast.Call(func=ast.Attribute(attr="score"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def _recorded(test: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Module and function of `record(MODULE.FUNCTION(…))`."""
    for node in ast.walk(test):
        match node:
            case ast.Call(
                func=ast.Name(id="record"),
                args=[ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=function)), *_],
            ):
                yield module, function
