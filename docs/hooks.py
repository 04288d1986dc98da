"""Pages of the reference that are written from code when the site is built."""

import argparse
from collections.abc import Callable
from typing import Any

from mkdocs.structure.files import File, Files

from saebench.catalogue.formats import FORMATS
from saebench.catalogue.registry import families
from saebench.catalogue.suites import ORDER, definitions, headlines, suite_questions
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
        rows.append(f"| `{name}{' ' * bool(shape)}{shape}` | {_cell(what)} |")

    add_options(add)
    head = (
        "# Options\n\nOf `pytest suites/`, or `pytest --pyargs saebench.suites`. Everything else is pytest's own.\n\n"
    )
    return head + "| option | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"


def properties() -> str:
    questions, defined, leading = suite_questions(suites_dir()), definitions(suites_dir()), headlines(suites_dir())
    parts = ["# Properties", "**Bold** stands for its suite on boards. `saebench/metrics/` has the whole definitions."]
    for family in sorted(questions, key=ORDER.index):
        parts += [f"## {family}", questions[family]]
        own = [name for name in defined if name.startswith(f"{family}.")]
        shown = {name: f"**`{name}`**" if name in leading else f"`{name}`" for name in own}
        parts.append(
            "| property | what it is |\n|---|---|\n" + "\n".join(f"| {shown[n]} | {_cell(defined[n])} |" for n in own)
        )
    return "\n\n".join(parts) + "\n"


def formats() -> str:
    rows = [f"| `{name}` | {', '.join(f'`{file}`' for file in form.files)} |" for name, form in FORMATS.items()]
    return (
        "# Formats\n\nWhat an SAE's files may be; which one is found out by their names. `{path}` is what `--sae` names, `{stem}` that without\nits ending, `{parent}` the folder that it is in.\n\n| format | files |\n|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def listed_families() -> str:
    rows = [f"| `{family.name}` | {_cell(family.about)} |" for family in families()]
    return (
        "# Families\n\n`saebench ls FAMILY` lists what is in one.\n\n| family | what it is |\n|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def commands() -> str:
    parser = parser_of()
    (chosen,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    parts = ["# Commands"]
    for action in chosen._choices_actions:
        usage = " ".join(chosen.choices[action.dest].format_usage().removeprefix("usage: ").split())
        parts += [f"## saebench {action.dest}", f"{action.help}.", f"```\n{usage}\n```"]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


PAGES: dict[str, Callable[[], str]] = {
    "options": options, "properties": properties, "formats": formats, "families": listed_families, "commands": commands,
}  # fmt: skip
