"""Entities and sentences of RAVEL (arXiv 2402.17700) that stand on the hub, as two JSON files of each kind."""

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saebench.hub.hub import Repo
from saebench.hub.needs import Need
from saebench.record.naming import nearest
from saebench.record.plain_text import read_text

ABSENT = "not-here"
"""Stands for a commit where there is none."""
SLOT = "%s"
Told = tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]
"""Templates by attribute, and values by entity."""


@dataclass(frozen=True)
class HubEntities:
    """One kind of entity, of a repository at a revision."""

    name: str
    repo: Repo
    values: str
    """File of an object by entity, each one by attribute."""
    prompts: str
    """File of an object by attribute, each a list of texts with `%s` in the place of the name."""
    attributes: tuple[str, ...]
    templates: int
    """Of each attribute, drawn by the kind's name."""
    entities: int
    """Most that a model is asked about, drawn likewise."""
    known: int
    """Most that are kept of them: those that the model knows best."""

    @property
    def identity(self) -> str:
        """Stands for all that is read: what is told here, and the commit that is on this machine, if there is one."""
        told = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{self.name}@{told}@{ABSENT if self._lacking() else self.repo.commit()[:12]}"

    def need(self) -> Need:
        return Need(f"the entities {self.name}", self.repo, (self.values, self.prompts), self._lacking)

    def _lacking(self) -> list[str]:
        return [file for file in (self.values, self.prompts) if self.repo.local(file) is None]

    def read(self) -> Told:
        """Raises OSError where they are not on this machine, ValueError where they are not what they should be."""
        prompts, values = self._object(self.prompts), self._object(self.values)
        for attribute in self.attributes:
            if attribute not in prompts:
                raise ValueError(
                    f"{self.repo}: {self.prompts} has no attribute {attribute!r}.{nearest(attribute, prompts)}"
                )
        templates = {attribute: self._templates(attribute, prompts[attribute]) for attribute in self.attributes}
        kept = {entity: found for entity, of in values.items() if (found := self._values(of))}
        drawn = random.Random(f"entities/{self.name}").sample(sorted(kept), min(self.entities, len(kept)))
        return templates, {entity: kept[entity] for entity in drawn}

    def _object(self, file: str) -> dict[str, Any]:
        path = self.repo.local(file)
        if path is None:
            raise OSError(f"{self.name}: {file} of {self.repo} is not in the cache: `saebench fetch` brings it")
        return _read_object(path, f"{self.repo}: {file}")

    def _templates(self, attribute: str, texts: Any) -> tuple[str, ...]:
        """As many as are wanted, with `{e}` in the place of the name and something after it."""
        usable = [text for text in texts if _is_usable(text)] if isinstance(texts, list) else []
        if len(usable) < self.templates:
            raise ValueError(
                f"{self.repo}: {self.prompts} has {len(usable)} texts with one {SLOT} that ask for {attribute},"
                f" where {self.templates} are wanted"
            )
        drawn = random.Random(f"entities/{self.name}/{attribute}").sample(sorted(usable), self.templates)
        return tuple(text.replace(SLOT, "{e}").replace("%%", "%") for text in drawn)

    def _values(self, of: Any) -> tuple[str, ...] | None:
        """None for an entity of which some attribute is not known."""
        found = [of.get(attribute) for attribute in self.attributes] if isinstance(of, Mapping) else []
        known = tuple(value.strip() for value in found if isinstance(value, str) and value.strip())
        return known if len(known) == len(self.attributes) else None


def _is_usable(text: Any) -> bool:
    """Whether a model can be asked: what stands after the name, or where the answer follows a space, is no matter of tokens."""
    return (
        isinstance(text, str) and text.count(SLOT) == 1 and "{e}" not in text and not text.endswith((SLOT, " "))
    )  # fmt: skip


def _read_object(path: Path, told: str) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{told} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{told} is no JSON object")
    return found


def entities_of(name: str, table: Mapping[str, Any]) -> HubEntities:
    """Of a table `[hub]`. Raises ValueError with what is wrong with it, in a sentence."""
    if unknown := [key for key in table if key not in KEYS]:
        raise ValueError(f"unknown key {unknown[0]!r} in [hub].{nearest(unknown[0], KEYS)} Known: {', '.join(KEYS)}")
    for key, kind in KEYS.items():
        if type(table.get(key)) is not kind:
            raise ValueError(f"{key} of [hub] is {table.get(key)!r:.60}, and should be {CALLED[kind]}")
    attributes: Sequence[Any] = table["attributes"]
    if len(attributes) < 2 or not all(isinstance(each, str) for each in attributes):
        raise ValueError("attributes of [hub] should be two or more names")
    if least := [key for key, kind in KEYS.items() if kind is int and table[key] < 1]:
        raise ValueError(f"{least[0]} of [hub] is {table[least[0]]}, and should be positive")
    base, _, revision = table["repo"].partition("@")
    repo = Repo(base, revision or "main", "dataset")
    return HubEntities(
        name,
        repo,
        table["values"],
        table["prompts"],
        tuple(attributes),
        table["templates"],
        table["entities"],
        table["known"],
    )


KEYS: dict[str, type] = {
    "repo": str, "values": str, "prompts": str, "attributes": list, "templates": int, "entities": int, "known": int,
}  # fmt: skip
CALLED = {str: "text", list: "a list of names", int: "a whole number"}
