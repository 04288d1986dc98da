"""Seconds of both sides as a table, and where it stands in README.md."""

import datetime
import platform
import statistics
from importlib.metadata import version
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- versus-saebench -->", "<!-- /versus-saebench -->"
EVALS = ("absorption", "core", "sparse_probing")
Seconds = dict[str, list[float]]


def table(found: dict[str, dict[str, Seconds]]) -> str:
    head = "| | SAE | SAEBench, s | saebench, s | times | all of our suite, s | first SAE: SAEBench, s | saebench, s | times |"
    lines = [head, "|:--|:--|--:|--:|--:|--:|--:|--:|--:|"]
    for name in EVALS:
        for sae, spent in ((sae, spent[name]) for sae, spent in found.items() if name in spent):
            further, first = (_pair(spent, suffix) for suffix in ("", " first"))
            lines.append(
                f"| {name.replace('_', ' ')} | {sae} | {further} | {statistics.median(spent['whole']):.2f} | {first} |"
            )
    return "\n".join(lines)


def _pair(spent: Seconds, suffix: str) -> str:
    theirs, ours = spent[f"theirs{suffix}"], spent[f"ours{suffix}"]
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    span = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
    return f"{statistics.median(theirs):.2f} | {statistics.median(ours):.2f} | {statistics.median(ratios):.1f}{span}"


def about(found: dict[str, dict[str, Seconds]]) -> str:
    """What the numbers are of."""
    rounds = [len(spent["theirs"]) for of in found.values() for spent in of.values()]
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("sae-bench", "pytest-saebench", "torch", "transformers")
    )
    least, most = min(rounds), max(rounds)
    told = f"Medians of {least if least == most else f'{least} to {most}'} rounds, and ranges"
    return f"{told}; {processor()}, one thread, {datetime.date.today()}; {packages}."


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(text: str) -> None:
    readme = README.read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{README} has no {BEGIN} and {END} to write between")
    README.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
