"""`saebench publish`: pages of leaderboards, written from scores files."""

import argparse
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from saebench.boards import reliability_card
from saebench.boards.board_footer import run_command
from saebench.boards.leaderboard import render
from saebench.boards.page import page
from saebench.boards.page_data import page_data
from saebench.boards.pictures import first_picture, pictures
from saebench.boards.sealed import Sealed
from saebench.catalogue.suites import definitions, headlines, suite_questions
from saebench.commands import Commands, put
from saebench.compare.contrasts import paired_by
from saebench.record.naming import shown
from saebench.record.places import suites_dir
from saebench.record.store import Store, compacted
from saebench.record.uncollected import uncollected

File = str | Sealed | None
"""What a file should hold; None where there should be none."""
Failing = tuple[str, Mapping[str, Sequence[str]]]
"""The family of a reliability card, and property to the lenses of it that it fails."""


def add(commands: Commands) -> None:
    parser = commands.add_parser("publish", help="write leaderboards from scores files")
    parser.add_argument("files", nargs="*", metavar="FILE", help="scores to copy (default: what DIR holds)")
    parser.add_argument("--to", metavar="DIR", default="leaderboards", help="where pages lie (default: leaderboards)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page differs from its scores")
    parser.set_defaults(run=run)


@uncollected()
def run(arguments: argparse.Namespace) -> int:
    target = Path(arguments.to)
    sources = [Path(file) for file in arguments.files] or sorted(target.glob("*.jsonl"))
    _check_sources(sources, target)
    if not arguments.check:
        for source in sources:
            _copy(source, target)
    judged, stale = cache(partial(reliability_card.judged, target)), list[str]()
    for source in sources:
        family = reliability_card.card_for(target, source.stem)
        stale += _publish_one(source, target, (family, reliability_card.marks(judged(family))), check=arguments.check)
    for family in reliability_card.families_in(target):
        stale += _publish_card(target, reliability_card.files(family, judged(family)), check=arguments.check)
    for line in stale:
        put(shown(line))
    return 1 if stale else 0


def _check_sources(sources: list[Path], target: Path) -> None:
    if not sources:
        raise ValueError(f"{target} holds no scores (*.jsonl): name a scores file to publish")
    if missing := [str(source) for source in sources if not source.is_file()]:
        raise ValueError(f"{', '.join(missing)}: no such file of scores")
    if len({source.stem for source in sources}) < len(sources):
        raise ValueError("two of these files have one name, and would write one page: rename one")


def _copied(source: Path, target: Path) -> bool:
    return source.resolve() != (target / source.name).resolve()


def _copy(source: Path, target: Path) -> None:
    if _copied(source, target):
        Store(source).copy_to(target / source.name)


def _publish_one(source: Path, target: Path, judged: Failing, *, check: bool) -> list[str]:
    """Write one board's files; with `check`, return a line per file that differs instead."""
    store, files = Store(source), dict[str, File]()
    # What is planted there ranks no SAEs: it is for the card.
    if reliability_card.family_of(source.stem) is None:
        drawn = sorted((target / f"{source.stem}.pictures").rglob("*.svg"))
        files = {path.relative_to(target).as_posix(): None for path in drawn}
        files |= _files(store, source.stem, judged)
    if check:
        files |= {source.name: compacted(list(store.newest().values()))} if _copied(source, target) else {}
        return [line for name, file in files.items() if (line := _difference(target / name, file))]
    for name, file in files.items():
        _write(target / name, file)
    return []


def _publish_card(target: Path, files: Mapping[str, str | Sealed], *, check: bool) -> list[str]:
    """Write a family's reliability card, which is of several scores files of the folder together, if there is one."""
    if not check:
        for name, file in files.items():
            _write(target / name, file)
    return [line for name, file in files.items() if (line := _difference(target / name, file))]


def _write(path: Path, file: File) -> None:
    if file is None:
        path.unlink(missing_ok=True)
    elif not (isinstance(file, Sealed) and path.is_file() and file.matches(path.read_text(encoding="utf-8"))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text() if isinstance(file, Sealed) else file, encoding="utf-8")


def _difference(path: Path, file: File) -> str:
    found = path.read_text(encoding="utf-8") if path.is_file() else None
    if found is not None and isinstance(file, Sealed):
        same = file.matches(found)
    else:
        same = found == file
    how = "is missing" if found is None else "has no data behind it" if file is None else "differs from its scores"
    return "" if same else f"{path} {how}: run saebench publish"


def _files(store: Store, name: str, judged: Failing) -> dict[str, File]:
    """The page as Markdown, its pictures, and the page that a browser shows."""
    scores, (family, failing) = list(store.newest().values()), judged
    title, compare = f"Leaderboard: {name}", paired_by(store)
    questions, defined = suite_questions(suites_dir()), definitions(suites_dir())
    asked = headlines(suites_dir())
    drawn, shown = pictures(store, scores, name)
    first, words = first_picture(scores, name, asked)
    markdown = render(
        scores, title=title, command=run_command(scores, name), questions=questions, defined=defined, pictures=shown,
        failing=failing, headlines=asked, first_picture=words.get("", ""),
        card=f"{reliability_card.name_of(family)}.md", compare=compare,
    )  # fmt: skip
    # Its data is of the size of the page, and nothing keeps it.
    html = page(page_data(
        store, scores, title=title, questions=questions, defined=defined, failing=failing, headlines=asked, compare=compare
    ))  # fmt: skip
    return {**drawn, **first, f"{name}.html": html, f"{name}.md": markdown}
