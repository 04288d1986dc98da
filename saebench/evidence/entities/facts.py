"""Entities and their attributes as data: names, the values of each attribute, and the sentences that ask for it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from saebench.hub.entity_files import HubEntities, entities_of
from saebench.organism.lexicon import Lexicon, load_lexicon
from saebench.record.naming import nearest
from saebench.record.places import fixtures_dir, organism_folder
from saebench.record.plain_text import read_toml

KNOWN = ("about", "models", "world", "patched", "hub", "attributes", "entities")
OF_FILE = ("world", "attributes", "entities")
OF_CITIES = ("country", "continent", "language")
WORLDS = {"cities": OF_CITIES, "people": ("profession", "home", "food", *OF_CITIES)}
"""What there is in the organism's world, with the attributes that it has."""
PATCHED = ("name", "onward")
SLOT = "{e}"


@dataclass(frozen=True)
class Facts:
    """One kind of entity: what is true of each, and how a language model is asked for it."""

    name: str
    templates: Mapping[str, tuple[str, ...]]
    """By attribute, equally many texts with `{e}` in the place of the name, that end where the value follows."""
    values: Mapping[str, tuple[str, ...]]
    """By entity, its value of each attribute, in the order of `templates`."""
    onward: bool
    """Whether activations are patched from the name's token to the end of the prompt; else at the name's token alone."""

    known: int | None = None
    """How many are kept of those that a model is asked about, the ones that it knows best; None for all."""

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(self.templates)

    @property
    def known_values(self) -> list[list[str]]:
        """All values of each attribute, in alphabetical order."""
        return [sorted(set(column)) for column in zip(*self.values.values(), strict=True)]

    @property
    def digest(self) -> str:
        content = [dict(self.templates), dict(self.values), self.onward, *([self.known] if self.known else [])]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def load_facts(name: str) -> Facts:
    """A name of fixtures/entities/NAME.toml, or a path of a TOML file.

    Raises ValueError with one sentence, which says where it is and the nearest name, if there is no such file, or if it
    is not as it should be; OSError where it is of files of the hub that are not on this machine.
    """
    path, data = _read(name)
    if (told := hub_entities(name)) is not None:
        templates, values = told.read()
    else:
        templates = {attribute: tuple(asked["templates"]) for attribute, asked in data["attributes"].items()}
        of = _of_world(data["world"], tuple(templates)) if "world" in data else data["entities"]
        values = {entity: tuple(each) for entity, each in of.items()}
    return Facts(path.stem, templates, values, data["patched"] == "onward", None if told is None else told.known)


def hub_entities(name: str) -> HubEntities | None:
    """Files of the hub that a kind of entity is read from, if it is. Raises ValueError as `load_facts` does."""
    path, data = _read(name)
    try:
        return entities_of(path.stem, data["hub"]) if "hub" in data else None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def kinds_for(model: str) -> list[str]:
    """Names of the files in fixtures/entities/ whose `models` name a model."""
    found = {path.stem: read_toml(path).get("models", ()) for path in sorted(facts_dir().glob("*.toml"))}
    return [name for name, models in found.items() if any(fnmatchcase(model, each) for each in models)]


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    path = Path(name) if name.endswith(".toml") else facts_dir() / f"{name}.toml"
    if not path.is_file():
        known = sorted(each.stem for each in facts_dir().glob("*.toml"))
        raise ValueError(f"{name}: no such entities.{nearest(name, known)} Known: {', '.join(known)}; or a TOML")
    data = read_toml(path)
    if problem := _problem(data) or ("" if "hub" in data else _asked_problem(data) or _entities_problem(data)):
        raise ValueError(f"{path}: {problem}")
    return path, data


def facts_dir() -> Path:
    return fixtures_dir() / "entities"


def _of_world(world: str, attributes: tuple[str, ...]) -> dict[str, list[str]]:
    """Values of the people or the cities of the organism's world, by name."""
    lexicon: Lexicon = load_lexicon(organism_folder())
    if world == "cities":
        return {city.name: [str(getattr(city, attribute)) for attribute in attributes] for city in lexicon.cities}
    told = {person.name: {**vars(person.home), **vars(person), "home": person.home.name} for person in lexicon.people}
    return {name: [str(of[attribute]) for attribute in attributes] for name, of in told.items()}


def _problem(data: dict[str, Any]) -> str:
    """What is wrong with the file, but for its attributes and entities; nothing if it is as it should be."""
    if unknown := [key for key in data if key not in KNOWN]:
        return f"unknown key {unknown[0]!r}.{nearest(unknown[0], KNOWN)} Known: {', '.join(KNOWN)}"
    if not isinstance(data.get("about", ""), str):
        return f"about is {data['about']!r:.60}, and should be text"
    if (patched := data.get("patched")) not in PATCHED:
        return f"patched is {patched!r:.60}, and should be one of {', '.join(PATCHED)}"
    models = data.get("models", [])
    if not isinstance(models, list) or not all(isinstance(each, str) for each in models):
        return f"models is {models!r:.60}, and should be a list of names and globs"
    if "hub" in data and (other := [key for key in OF_FILE if key in data]):
        return f"[hub] says what is read, and {other[0]} stands beside it"
    return "" if isinstance(data.get("hub", {}), dict) else "hub should be a table"


def _asked_problem(data: dict[str, Any]) -> str:
    """What is wrong with the attributes, and with what asks for them."""
    attributes = data.get("attributes")
    if not isinstance(attributes, dict) or len(attributes) < 2:
        return "it needs two or more tables [attributes.NAME], each with a list `templates`"
    return next((said for name, asked in attributes.items() if (said := _attribute_problem(name, asked))), "") or (
        "" if len({len(asked["templates"]) for asked in attributes.values()}) == 1
        else "all attributes need equally many templates"
    )  # fmt: skip


def _attribute_problem(name: str, asked: Any) -> str:
    if not isinstance(asked, dict) or set(asked) != {"templates"}:
        return f"[attributes.{name}] should hold a list `templates`, and nothing else"
    templates = asked["templates"]
    if not isinstance(templates, list) or not templates or not all(map(_is_template, templates)):
        return f"[attributes.{name}]: templates are texts with one {SLOT} and something after it"
    return ""


def _is_template(template: Any) -> bool:
    return isinstance(template, str) and template.count(SLOT) == 1 and not template.endswith((SLOT, " "))


def _entities_problem(data: dict[str, Any]) -> str:
    """What is wrong with the entities."""
    if "world" in data:
        if data["world"] not in WORLDS or "entities" in data:
            return f"world is one of {', '.join(WORLDS)}, without a table [entities]"
        known = WORLDS[data["world"]]
        lacking = [name for name in data["attributes"] if name not in known]
        return f"its world knows no attribute {lacking[0]!r}.{nearest(lacking[0], known)}" if lacking else ""
    entities, wanted = data.get("entities"), len(data["attributes"])
    if not isinstance(entities, dict) or not entities:
        return "it needs a table [entities] of lists of values"
    for name, of in entities.items():
        if not isinstance(of, list) or len(of) != wanted or not all(isinstance(v, str) and v.strip() for v in of):
            return f"entity {name!r:.40} is {of!r:.60}, and should be a list of {wanted} values, one per attribute"
    return ""
