"""What each column of a leaderboard asks, read from the suites and metrics without importing them."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from saebench.markdown import escaped
from saebench.score import Score


def suite_questions(suites_dir: str | Path) -> dict[str, str]:
    """Map property family to the docstring of `test_<family>.py`."""
    found = {}
    for path in sorted(Path(suites_dir).glob("test_*.py")):
        if docstring := ast.get_docstring(_parsed(path)):
            found[path.stem.removeprefix("test_")] = " ".join(docstring.split())
    return found


def definitions(suites_dir: str | Path, metrics_dir: str | Path | None = None) -> dict[str, str]:
    """Map property to the first paragraph of the docstring of the metric that its test records."""
    metrics = Path(metrics_dir or Path(__file__).parent / "metrics")
    said = {
        (path.stem, node.name): (ast.get_docstring(node) or "").partition("\n\n")[0]
        for path in sorted(metrics.glob("*.py"))
        for node in _parsed(path).body
        if isinstance(node, ast.FunctionDef)
    }
    tests = [node for path in sorted(Path(suites_dir).glob("test_*.py")) for node in _functions(path)]
    found = {name: said.get(metric, "") for test in tests for name in _properties(test) for metric in _recorded(test)}
    return {name: " ".join(text.split()) for name, text in found.items() if text}


def tests(suites_dir: str | Path) -> dict[str, list[str]]:
    """Map property to the node ids of the tests that score it."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(suites_dir).glob("test_*.py")):
        for test in _functions(path):
            for name in _properties(test):
                found.setdefault(name, []).append(f"{path}::{test.name}")
    return found


def questions_section(scores: Sequence[Score], questions: Mapping[str, str], defined: Mapping[str, str]) -> str:
    """Per family its question, and below it what each of its columns is."""
    lines = ["## What the columns ask"]
    for family in dict.fromkeys(_family(score) for score in scores):
        lines.append(f"**{escaped(family)}**: {questions.get(family, 'no question is written down for this family.')}")
        of_family = [score for score in scores if _family(score) == family]
        lines.append("\n".join(_column_lines(of_family, defined)))
    return "\n\n".join(lines)


def _column_lines(scores: Sequence[Score], defined: Mapping[str, str]) -> list[str]:
    """Properties that are defined and measured alike share a line."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, version in dict.fromkeys((score.property, score.version) for score in scores):
        same = [score for score in scores if (score.property, score.version) == (name, version)]
        groups.setdefault((defined.get(name, ""), _measured(same)), []).append(name.partition(".")[2] or name)
    return [
        f"- {', '.join(f'**{escaped(name)}**' for name in names)} ({escaped(how)}){': ' if what else ''}{escaped(what)}"
        for (what, how), names in groups.items()
    ]


def _measured(scores: Sequence[Score]) -> str:
    scored = [score for score in scores if score.value is not None]
    sizes, units = sorted({score.n for score in scored}), sorted({score.n_unit for score in scored})
    n = f"n = {' to '.join(dict.fromkeys(str(size) for size in (sizes[0], sizes[-1])))}" if sizes else ""
    named = f"{n} {'/'.join(unit + 's' * (sizes != [1]) for unit in units)}".strip()
    return ", ".join(filter(None, [f"version {scores[0].version}", scores[0].unit, named]))


def _family(score: Score) -> str:
    return score.property.partition(".")[0]


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
