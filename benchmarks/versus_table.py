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


def section(found: dict[str, dict[str, Seconds]]) -> str:
    """What the numbers are of, and the table: few lines, since the README is short."""
    rounds = [len(spent["theirs"]) for of in found.values() for spent in of.values()]
    least, most = min(rounds), max(rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("sae-bench", "torch", "transformers"))
    return (
        "Beside SAEBench: seconds of a processor that SAEBench's own code and saebench take for the same questions on the"
        " same model, SAE, texts and words, saebench with floors and intervals. Below 1 times, saebench is slower."
        " The SAE's pass over documents is counted under core."
        f" `python benchmarks/versus_saebench.py --write` made this table: medians of"
        f" {least if least == most else f'{least} to {most}'} rounds, and ranges; {processor()}, one thread,"
        f" {datetime.date.today()}; {packages}.\n\n{table(found)}"
    )


def table(found: dict[str, dict[str, Seconds]]) -> str:
    """A row for each eval; for each SAE a further one of its hook, the first one, and all that our suite asks."""
    heads = [f"{sae}: {what}" for sae in found for what in ("a further SAE", "the first", "our whole suite")]
    lines = [f"| SAEBench / saebench | {' | '.join(heads)} |", "|:--" + "|--:" * len(heads) + "|"]
    for name in EVALS:
        cells = [cell for spent in found.values() for cell in _cells(spent.get(name))]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(spent: Seconds | None) -> list[str]:
    if spent is None:
        return ["not measured"] * 3
    return [_pair(spent, ""), _pair(spent, " first"), f"{statistics.median(spent['whole']):.2f}"]


def _pair(spent: Seconds, suffix: str) -> str:
    theirs, ours = spent[f"theirs{suffix}"], spent[f"ours{suffix}"]
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    span = f" ({min(ratios):.2g} to {max(ratios):.2g})" if len(ratios) > 1 else ""
    return (
        f"{statistics.median(theirs):.2f} / {statistics.median(ours):.2f}: {statistics.median(ratios):.2g} times{span}"
    )


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
