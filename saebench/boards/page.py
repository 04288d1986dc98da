"""A leaderboard as one HTML file: its data, its script and the library that draws are in it, and nothing is fetched."""

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from saebench.boards.page_data import Json
from saebench.boards.plot import cleaned
from saebench.boards.sealed import Sealed

SCRIPTS = ("page_chart.js", "page_details.js", "page_first.js", "page_compare.js", "page.js")
LONGEST = 5_000
"""Characters of any text on a page."""


def page(data: Json) -> Sealed:
    """The page of `page_data.page_data`."""
    scripts = [*SCRIPTS, *(["page_notes.js"] if "notes" in data else [])]
    parts = {"template": _read("page.html"), "style": _read("page.css"), "script": _joined(map(_read, scripts))}
    data = cleaned(data, LONGEST)
    return Sealed({"data": data, "parts": parts}, lambda: _html(data, **parts))


def _html(data: Json, template: str, style: str, script: str) -> str:
    library = _library()
    return Template(template).substitute(
        title=escape(data["title"]), policy=_policy([library, script]), style=style, data=_embedded(data),
        library=library, script=script,
    )  # fmt: skip


@cache
def _library() -> str:
    """Vega, Vega-Lite and what shows them in a page."""
    import vl_convert

    # A closing tag in one of its strings would end the script.
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")


def _read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _joined(scripts: Iterable[str]) -> str:
    """One script, whose names do not meet those of the library."""
    return f'"use strict";\n(() => {{\n{"".join(scripts)}}})();\n'


def _policy(scripts: list[str]) -> str:
    """What the page may do: run these scripts and no other, and fetch nothing. Vega writes styles."""
    known = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts
    )
    return f"default-src 'none'; script-src {known}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def _embedded(data: Json) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
