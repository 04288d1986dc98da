"""What is drawn, and what is found in a drawing."""

from typing import Any
from xml.etree import ElementTree

from saebench.boards import plot
from saebench.boards.plot import styled

CURVE = {"position": [16.0, 80.0], "kl": [0.1, 0.5], "kl_low": [0.05, 0.4], "kl_high": [0.2, 0.6], "context_size": [64]}


RESPONSE = {
    "angle": [5.0, 90.0], "angle:features": [1e-4, 9.0], "angle:features:low": [1e-5, 8.0],
    "angle:features:high": [1e-3, 10.0], "share": [0.2, 1.0], "share:features": [0.1, 0.2],
    "share:features:low": [0.1, 0.1], "share:features:high": [0.2, 0.3],
}  # fmt: skip


HOSTILE = ['a"<script>alert(1)</script>&', "]]>", "\x00\x1b[31m", "ñ—\u2028", "x" * 300, "{signal}", "\ud800", "${x}"]


def svg(spec: dict[str, Any]) -> str:
    return plot.svg(styled(spec))


def elements(drawn: str, tag: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(drawn).findall(f".//{{http://www.w3.org/2000/svg}}{tag}")


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in elements(drawn, "text")]
