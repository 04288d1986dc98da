"""Topics as data, fixtures/unlearning/NAME.toml: what is to be forgotten of which models, what is to stay, who asks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from saebench.hub.choices import ChoiceSource
from saebench.hub.hub import Repo
from saebench.organism.facts import OF, Form
from saebench.record.naming import nearest
from saebench.record.places import fixtures_dir
from saebench.record.plain_text import read_text, read_toml

TOPIC = ("about", "models", "forget", "retain")
SIDE = ("slots", "forms", "texts", "cloze", "choices")
FORM = ("of", "text", "answer")
CHOICES = ("repo", "subsets", "split")


@dataclass(frozen=True)
class Choices:
    """Questions with four answers of a data set of the hub."""

    repo: str
    """`ORG/NAME` or `ORG/NAME@REVISION`; the commit that was fetched is part of the name of what is read."""
    subsets: tuple[str, ...]
    split: str = "test"

    def source(self) -> ChoiceSource:
        base, _, revision = self.repo.partition("@")
        return ChoiceSource(Repo(base, revision or "main", "dataset"), self.subsets, self.split)


@dataclass(frozen=True)
class Side:
    """Texts and questions of the topic, or of all else."""

    slots: tuple[str, ...] = ()
    """Of the embedded model's world: what its sentences about the topic name."""
    forms: tuple[Form, ...] = ()
    texts: str = ""
    """A source of texts, as `--sae-corpus` takes it."""
    cloze: bool = False
    """Whether questions are made of other texts of the source."""
    choices: Choices | None = None


@dataclass(frozen=True)
class Topic:
    """One file."""

    name: str
    digest: str
    about: str
    models: tuple[str, ...]
    """Names and globs of the models that it is asked of."""
    forget: Side = field(default_factory=Side)
    retain: Side = field(default_factory=Side)

    @property
    def of_world(self) -> bool:
        return bool(self.forget.forms)


def topics_dir() -> Path:
    return fixtures_dir() / "unlearning"


def topic_of(model: str) -> Topic | None:
    """The topic that is asked of a model, which is the first in alphabetical order whose `models` name it."""
    found = (load_topic(path) for path in sorted(topics_dir().glob("*.toml")))
    return next((topic for topic in found if any(fnmatchcase(model, name) for name in topic.models)), None)


def load_topic(path: Path) -> Topic:
    """Raises ValueError with one sentence where the file is not what it should be."""
    data = read_toml(path)
    try:
        _known(data, TOPIC, "")
        models = _texts(data, "models")
        digest = hashlib.sha256(read_text(path).encode()).hexdigest()[:8]
        about, forget, retain = str(data.get("about", "")), _side(data, "forget"), _side(data, "retain")
        if forget.forms and not forget.slots:
            raise ValueError("[forget] has forms of the world and no slots: they say which sentences are of the topic")
        if bool(forget.forms) != bool(retain.forms):
            raise ValueError("one of [forget] and [retain] asks about the world and the other does not")
        return Topic(path.stem, digest, about, models, forget, retain)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _side(data: Mapping[str, Any], name: str) -> Side:
    table = data.get(name)
    if not isinstance(table, dict):
        raise ValueError(f"it needs a table [{name}]")
    _known(table, SIDE, f" in [{name}]")
    forms = tuple(_form(one, name) for one in table.get("forms", ()))
    choices = _choices(table["choices"], name) if "choices" in table else None
    slots = _texts(table, "slots") if "slots" in table else ()
    side = Side(slots, forms, str(table.get("texts", "")), table.get("cloze") is True, choices)
    if [bool(forms), side.cloze, choices is not None].count(True) != 1:
        raise ValueError(f"[{name}] needs one of forms, cloze and choices: who asks what")
    if not forms and not side.texts:
        raise ValueError(f"[{name}] needs texts: the name of a source, by which latents are chosen")
    return side


def _form(table: Any, where: str) -> Form:
    if not isinstance(table, dict) or sorted(table) != sorted(FORM) or table["of"] not in OF:
        raise ValueError(f"a form of [{where}] is {table!r:.80}: expected of (one of {', '.join(OF)}), text and answer")
    return Form(table["of"], table["text"], table["answer"])


def _choices(table: Any, where: str) -> Choices:
    if not isinstance(table, dict):
        raise ValueError(f"choices of [{where}] is {table!r:.60}, and should be a table")
    _known(table, CHOICES, f" in choices of [{where}]")
    repo = table.get("repo")
    if not isinstance(repo, str) or repo.partition("@")[0].count("/") != 1:
        raise ValueError(f"choices of [{where}] are of {repo!r:.60}: expected ORG/NAME or ORG/NAME@REVISION")
    return Choices(repo, _texts(table, "subsets"), str(table.get("split", "test")))


def _texts(table: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = table.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise ValueError(f"{name} is {found!r:.60}, and should be a list of names")
    return tuple(found)


def _known(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    if unknown := [key for key in table if key not in names]:
        raise ValueError(f"unknown key {unknown[0]!r}{where}.{nearest(unknown[0], names)} Known: {', '.join(names)}")
