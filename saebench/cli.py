"""`saebench ls | fetch | show | compare | publish`: what there is, what was measured, and the published pages. No torch."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tabulate import tabulate

from saebench import __version__, registry
from saebench.carriers import HEADER, carrier_rows
from saebench.floors import DASH
from saebench.gate import compare, find_baseline, number, read_baseline
from saebench.leaderboard import render, suite_questions
from saebench.listing import listed
from saebench.naming import natural, nearest, shown
from saebench.pictures import pictures
from saebench.preparation import needed
from saebench.run import Run
from saebench.score import Score
from saebench.spec import SAESpec
from saebench.store import Store, compacted

DEFAULT_SCORES = ".saebench/scores.jsonl"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 is success, 1 a page that differs from its data, 4 a bad name or path."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"saebench: {error}", file=sys.stderr)
        return 4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="saebench", description=__doc__)
    parser.add_argument("--version", action="version", version=f"saebench {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ls = commands.add_parser("ls", help="list the SAEs that --sae can name")
    ls.add_argument("pattern", nargs="?", default="", help="as for pytest --sae (default: all families)")
    ls.set_defaults(run=_ls)
    fetch = commands.add_parser("fetch", help="download all that a run will need: SAEs, their model, texts")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="as for pytest --sae")
    fetch.add_argument("--sae-model", metavar="NAME", help="as for pytest: another model than the SAEs' own")
    fetch.add_argument("--sae-corpus", metavar="TEXTS", help="as for pytest: other texts")
    fetch.set_defaults(run=_fetch)
    show = commands.add_parser("show", help="facts of an SAE and all its scores")
    show.add_argument("name", help="as for pytest --sae, or a name or glob in the scores file")
    show.add_argument("--scores", metavar="FILE", help=f"scores to look in (default: {DEFAULT_SCORES})")
    show.set_defaults(run=_show)
    comparison = commands.add_parser("compare", help="what differs between two scores files")
    comparison.add_argument("a", metavar="A", help="baseline: FILE or FILE:row, where row is an SAE in it")
    comparison.add_argument("b", metavar="B", help="FILE or FILE:row that is compared with it")
    comparison.set_defaults(run=_compare)
    publish = commands.add_parser("publish", help="write leaderboards from scores files")
    publish.add_argument("files", nargs="*", metavar="FILE", help="scores to copy (default: what DIR holds)")
    publish.add_argument("--to", metavar="DIR", default="leaderboards", help="where pages lie (default: leaderboards)")
    publish.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs from its scores")
    publish.set_defaults(run=_publish)
    return parser


def _ls(arguments: argparse.Namespace) -> int:
    print(listed(arguments.pattern))
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    if not (arguments.names or arguments.sae_model or arguments.sae_corpus):
        raise ValueError("name what to fetch: an SAE as for pytest --sae, --sae-model or --sae-corpus")
    specs = registry.resolve_all(arguments.names)
    run = Run(specs, Store(DEFAULT_SCORES), model=arguments.sae_model, texts=arguments.sae_corpus)
    run.prepare(print)
    print(f"all is here: {needed(run)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    path = Path(arguments.scores or DEFAULT_SCORES)
    if arguments.scores and not path.is_file():
        raise ValueError(f"{path}: no such file of scores")
    scores = list(Store(path).newest().values())
    named = {s.sae: None for s in scores if s.sae == arguments.name or fnmatchcase(s.sae, arguments.name)}
    specs = {spec.name: spec for spec in _specs(arguments.name, [score.sae for score in scores], bool(named))}
    for name in {**specs, **named}:
        _show_one(name, specs.get(name), [score for score in scores if score.sae == name], Store(path))
    return 0


def _specs(pattern: str, scored: list[str], optional: bool) -> list[SAESpec]:
    try:
        return registry.resolve(pattern)
    except ValueError as error:
        if optional:
            return []
        guess = nearest(pattern, scored)
        raise ValueError(f"{error}{f' In the scores file:{guess}' if guess else ''}".replace("--sae ", "")) from None


def _show_one(name: str, spec: SAESpec | None, scores: list[Score], store: Store) -> None:
    print(name)
    facts = {key: value for key, value in vars(spec).items() if key not in ("name", "facts")} if spec else {}
    for key, value in {**facts, **(spec.facts if spec else {})}.items():
        print(f"  {key:<24} {shown(_plain(value))}")
    rows = [[_title(score), *_value(score), _notes(score)] for score in scores]
    print("\n" + _table(rows, ["score", "value", "95% interval", "n", "notes"]) if rows else "\nno scores", end="\n\n")
    _show_carriers(carrier_rows(store, scores))


def _show_carriers(rows: list[list[str]] | None) -> None:
    """Which latents absorb which test words."""
    if rows:
        print(_table(rows, HEADER), end="\n\n")
    elif rows is not None:
        print("No test word is fully absorbed by one latent.", end="\n\n")


def _value(score: Score) -> list[str]:
    if score.value is None or score.ci_low is None or score.ci_high is None:
        return ["unscored", DASH, DASH]
    interval = f"[{number(score.ci_low)}, {number(score.ci_high)}]"
    return [number(score.value), interval, f"{score.n} {score.n_unit}".strip()]


def _notes(score: Score) -> str:
    if score.unscored_reason is not None:
        return score.unscored_reason
    references = {"floor": score.floor, "ceiling": score.ceiling, **score.controls}
    return ", ".join(f"{name} {number(value)}" for name, value in references.items() if value is not None)


def _compare(arguments: argparse.Namespace) -> int:
    old, new = read_baseline(arguments.a), read_baseline(arguments.b)
    pairs = [(score, row) for score in new if (row := find_baseline(score, old)) is not None]
    if not pairs:
        raise ValueError(f"{arguments.a} and {arguments.b} have no property of one SAE in common; try FILE:row")
    print(_table([_compare_row(score, row) for score, row in pairs], ["score", "A", "B", "B - A", "B is"]))
    alone = len(new) - len(pairs), len({s.identity() for s in old} - {row.identity() for _, row in pairs})
    print(f"\nOnly in B: {alone[0]}. Only in A: {alone[1]}.")
    print("Intervals are 95% and unpaired: wider than for SAEs compared text by text.")
    return 0


def _compare_row(score: Score, baseline: Score) -> list[str]:
    result = compare(score, baseline, tolerance=0.0)
    title = _title(score) + f"[{score.sae}]" + (f" vs [{baseline.sae}]" if baseline.sae != score.sae else "")
    values = [DASH if s.value is None else number(s.value) for s in (baseline, score)]
    if result.difference is None or result.ci_low is None or result.ci_high is None:
        return [title, *values, DASH, f"{result.verdict}: {result.reason}"]
    # Positive means worse in a Comparison; people read B - A.
    ends = result.ci_low, result.difference, result.ci_high
    low, middle, high = (-end for end in reversed(ends)) if score.better == "higher" else ends
    verdict = {"ok": "the same within noise"}.get(result.verdict, result.verdict)
    verdict = "not ranked" if score.better == "neither" else verdict
    return [title, *values, f"{middle + 0.0:+.3g} [{number(low)}, {number(high)}]", verdict]


def _publish(arguments: argparse.Namespace) -> int:
    target = Path(arguments.to)
    sources = [Path(file) for file in arguments.files] or sorted(target.glob("*.jsonl"))
    _check_sources(sources, target)
    stale = [line for source in sources for line in _publish_one(source, target, check=arguments.check)]
    for line in stale:
        print(line)
    return 1 if stale else 0


def _check_sources(sources: list[Path], target: Path) -> None:
    if not sources:
        raise ValueError(f"{target} holds no scores (*.jsonl): name a scores file to publish")
    if missing := [str(source) for source in sources if not source.is_file()]:
        raise ValueError(f"{', '.join(missing)}: no such file of scores")
    if len({source.stem for source in sources}) < len(sources):
        raise ValueError("two of these files have one name, and would write one page: rename one")


def _publish_one(source: Path, target: Path, *, check: bool) -> list[str]:
    """Write one board's files; with `check`, return a line per file that differs instead."""
    store = Store(source)
    pages = _pages(store, source.stem)
    old: dict[str, str | None] = {
        f"{path.parent.name}/{path.name}": None for path in (target / f"{source.stem}.responses").glob("*.svg")
    }
    pages = old | pages
    copied = source.resolve() != (target / source.name).resolve()
    if check:
        wanted: dict[str, str | None] = {**pages}
        if copied:
            wanted[source.name] = compacted(list(store.newest().values()))
        return [line for name, text in wanted.items() if (line := _difference(target / name, text))]
    if copied:
        store.copy_to(target / source.name)
    for name, text in pages.items():
        if text is None:
            (target / name).unlink(missing_ok=True)
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_text(text, encoding="utf-8")
    return []


def _difference(path: Path, text: str | None) -> str:
    found = path.read_text(encoding="utf-8") if path.is_file() else None
    how = "is missing" if found is None else "has no data behind it" if text is None else "differs from its scores"
    return "" if found == text else f"{path} {how}: run saebench publish"


def _pages(store: Store, name: str) -> dict[str, str | None]:
    scores = list(store.newest().values())
    drawn, shown = pictures(store, scores, name)
    page = render(
        scores, title=f"Leaderboard: {name}", command=_command(scores, name), questions=suite_questions(_suites_dir()),
        pictures=shown,
    )  # fmt: skip
    return {f"{name}.svg": None, **drawn, f"{name}.md": page}


def _command(scores: Sequence[Score], name: str) -> str:
    names = sorted({score.sae for score in scores}, key=natural)
    families = {sae.partition("/")[0] for sae in names}
    if len(families) == 1 and ":" not in "".join(families) and families != {"local"}:
        return f"pytest suites/ --sae {shlex.quote(families.pop())}"
    options = " ".join(f"--sae {shlex.quote(sae)}" for sae in names)
    return f"pytest suites/ {options} --sae-scores .saebench/{shlex.quote(name)}.jsonl"


def _suites_dir() -> Path:
    package = Path(__file__).parent
    return package / "suites" if (package / "suites").is_dir() else package.parent / "suites"


def _title(score: Score) -> str:
    params = ", ".join(f"{key}={value}" for key, value in sorted(score.params.items()))
    return f"{score.property} ({params})" if params else score.property


def _plain(value: object) -> str:
    return DASH if value is None else number(value) if isinstance(value, float) else str(value)


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    return tabulate(rows, header, tablefmt="simple", disable_numparse=True)
