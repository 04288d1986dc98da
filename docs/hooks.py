"""Pages of the reference that are written from code when the site is built."""

import argparse
from collections.abc import Callable
from typing import Any

from mkdocs.structure.files import File, Files

from saebench.boards.markdown import escaped, pipe_table
from saebench.catalogue.formats import FORMATS
from saebench.catalogue.registry import families
from saebench.catalogue.suites import definitions, headlines, place, suite_questions
from saebench.cli import parser as parser_of
from saebench.record.places import suites_dir
from saebench.session.options import add_options


def on_files(files: Files, config: Any) -> Files:
    """https://www.mkdocs.org/dev-guide/plugins/#on_files"""
    for name, write in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=write()))
    return files


def options() -> str:
    rows = []

    def add(name: str, **given: Any) -> None:
        what = " ".join(str(given.get("help") or "").split()) % {"default": given.get("default")}
        shape = given.get("metavar") or ("" if given.get("action") == "store_true" else "VALUE")
        rows.append([f"`{name} {shape}`".replace(" `", "`"), escaped(what)])

    add_options(add)
    said = "Of `pytest suites/`, or `pytest --pyargs saebench.suites`. Everything else is pytest's own."
    return _page("Options", said, pipe_table(["option", "meaning"], rows, left=2))


def properties() -> str:
    questions, defined, leading = suite_questions(suites_dir()), definitions(suites_dir()), headlines(suites_dir())
    parts = ["**Bold** stands for its suite on boards. `saebench/metrics/` has the whole definitions."]
    for family in sorted(questions, key=place):
        own = [name for name in defined if name.startswith(f"{family}.")]
        rows = [[f"**`{name}`**" if name in leading else f"`{name}`", escaped(defined[name])] for name in own]
        parts += [f"## {family}", questions[family], pipe_table(["property", "what it is"], rows, left=2)]
    return _page("Properties", *parts)


def formats() -> str:
    rows = [[f"`{name}`", ", ".join(f"`{file}`" for file in form.files)] for name, form in FORMATS.items()]
    said = (
        "What an SAE's files may be; which one is found out by their names. `{path}` is what `--sae` names, `{stem}` that"
        " without its ending, `{parent}` the folder that it is in."
    )
    return _page("Formats", said, pipe_table(["format", "files"], rows, left=2))


def listed_families() -> str:
    rows = [[f"`{family.name}`", escaped(family.about)] for family in families()]
    said = "`saebench ls FAMILY` lists what is in one."
    return _page("Families", said, pipe_table(["family", "what it is"], rows, left=2))


def commands() -> str:
    parser = parser_of()
    (chosen,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    parts = []
    for action in chosen._choices_actions:
        usage = " ".join(chosen.choices[action.dest].format_usage().removeprefix("usage: ").split())
        parts += [f"## saebench {action.dest}", f"{action.help}.", f"```\n{usage}\n```"]
    return _page("Commands", *parts)


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *parts]) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "options": options, "properties": properties, "formats": formats, "families": listed_families, "commands": commands,
}  # fmt: skip
