"""A phrase bank as a TOML file, whoever wrote it: what it must hold is told in docs/explanation/decomposability.md."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from saebench.evidence.phrases.bank import (
    FEWEST_NAMING,
    FEWEST_PARTS,
    FEWEST_PHRASES,
    MOST_PARTS,
    Bank,
    Feature,
    Phrase,
)
from saebench.record.naming import nearest, shown
from saebench.record.places import fixtures_dir
from saebench.record.plain_text import read_toml

KEYS = ("about", "feature")
FEATURE_KEYS = ("description", "latent", "names", "naming", "near", "parts")
LISTS = ("names", "naming", "near")
LONGEST = 300
"""Characters of a text: it is a phrase."""
MOST_FEATURES = 2000
DEFAULT = "entities"
"""The bank that ships, of what any English text may be about."""


def default_bank() -> Bank:
    """The bank of well-known people, places and things."""
    return load_bank(fixtures_dir() / "phrases" / f"{DEFAULT}.toml")


def load_bank(path: Path) -> Bank:
    """Raises ValueError with one sentence, which says what is wrong and where, if it is not a bank."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file of phrases")
    data = read_toml(path)
    problems = (problem for problem in _problems(data) if problem)
    if problem := next(problems, ""):
        raise ValueError(shown(f"{path}: {problem}"))
    return Bank(path.stem, tuple(_feature(name, content) for name, content in data["feature"].items()))


def _feature(name: str, content: dict[str, Any]) -> Feature:
    parts = {part: tuple(Phrase(text, (part,)) for text in phrases) for part, phrases in content["parts"].items()}
    return Feature(
        name, parts, tuple(parts), tuple(content.get("naming", ())), tuple(content.get("near", ())),
        content.get("latent"), content.get("description", name),
    )  # fmt: skip


def _problems(data: dict[str, Any]) -> Iterable[str]:
    yield _unknown("", data, KEYS)
    features = data.get("feature")
    if not isinstance(data.get("about", ""), str):
        yield "about should be text"
    if not isinstance(features, dict) or not 2 <= len(features) <= MOST_FEATURES:
        yield f"it needs 2 to {MOST_FEATURES} tables [feature.NAME]: controls of one are the phrases of others"
        return
    for name, content in features.items():
        at = f"[feature.{name}]"
        if not isinstance(content, dict):
            yield f"{at} should be a table"
            return
        yield _unknown(at, content, FEATURE_KEYS)
        yield _wrong_lists(at, content)
        yield _wrong_choice(at, content)
        yield from _wrong_parts(at, content)
        yield _leak(at, content)


def _unknown(at: str, table: dict[str, Any], known: tuple[str, ...]) -> str:
    wrong = [key for key in table if key not in known]
    if not wrong:
        return ""
    return f"{at} has an unknown key {wrong[0]!r}.{nearest(wrong[0], known)} Known: {', '.join(known)}".strip()


def _texts(found: Any) -> bool:
    """Whether it is a list of texts of a line."""
    return isinstance(found, list) and all(
        isinstance(text, str) and 0 < len(text.strip()) <= len(text) <= LONGEST for text in found
    )


def _wrong_lists(at: str, content: dict[str, Any]) -> str:
    wrong = [key for key in LISTS if not _texts(content.get(key, []))]
    return f"{at} {wrong[0]} should be a list of texts of 1 to {LONGEST} characters" if wrong else ""


def _wrong_choice(at: str, content: dict[str, Any]) -> str:
    """Its latent is given by index, or chosen on texts that name it."""
    latent, naming = content.get("latent"), content.get("naming", [])
    if not isinstance(content.get("description", ""), str):
        return f"{at} description should be text"
    if latent is not None:
        given = isinstance(latent, int) and not isinstance(latent, bool) and latent >= 0
        return "" if given else f"{at} latent is {latent!r}, and should be the index of a latent, 0 or more"
    if len(naming) < FEWEST_NAMING:
        return f"{at} has {len(naming)} texts in naming, and no latent: {FEWEST_NAMING} or more texts choose its latent"
    return "" if content.get("names") else f"{at} needs names, words that its phrases must not contain"


def _wrong_parts(at: str, content: dict[str, Any]) -> Iterable[str]:
    parts = content.get("parts")
    if not isinstance(parts, dict) or not FEWEST_PARTS <= len(parts) <= MOST_PARTS:
        yield f"{at} needs a table parts of {FEWEST_PARTS} to {MOST_PARTS} subcomponents"
        return
    wrong = [part for part, phrases in parts.items() if not _texts(phrases) or len(set(phrases)) < FEWEST_PHRASES]
    if wrong:
        yield f"{at} part {wrong[0]!r} needs {FEWEST_PHRASES} or more different phrases of 1 to {LONGEST} characters"


def _leak(at: str, content: dict[str, Any]) -> str:
    """A phrase that names the feature says nothing of what it is made of, and a text that does not says nothing of it."""
    names = content.get("names", [])
    if not names:
        return ""
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b", re.IGNORECASE)
    texts = [text for phrases in content["parts"].values() for text in phrases] + content.get("near", [])
    if named := [text for text in texts if pattern.search(text)]:
        return f"{at} the phrase {named[0]!r} names the feature: no phrase may contain one of its names"
    if unnamed := [text for text in content.get("naming", []) if not pattern.search(text)]:
        return f"{at} the text {unnamed[0]!r} in naming contains none of its names"
    return ""
