"""`fixtures/*.toml`: families of SAEs, each a folder, single stanzas, or patterns that name thousands at once.

A `[[suite]]` has a pattern for the names that users type, and one for what it stands for: ids of a release of
sae-lens's registry, or paths in a repository whose placeholders take listed `values`. Facts may have placeholders too,
or be a table by the value of one: `d_in = { size = { 2b = 2304, 9b = 3584 } }`. A placeholder stands for what is between
`/`, `_` and `-`; `{hook...}`, which is `{hook}` elsewhere, for what is between `/`.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from saebench.catalogue.folders import scalars
from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.local import constant, matches, read_local
from saebench.catalogue.pretrained import model_on_hub, releases
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.tables import FACTS, File, Stanza, Suite, validated
from saebench.catalogue.templates import check_fact, fact_of, filled, pattern
from saebench.record.naming import natural, one_sentence
from saebench.record.plain_text import read_toml

MOST = 30_000
"""SAEs that one file may name."""


@dataclass(frozen=True)
class Family:
    """One file. Its SAEs are named when they are asked for, and read only when they are chosen."""

    name: str
    table: Mapping[str, Any]
    path: Path

    @property
    def about(self) -> str:
        return str(self.table.get("about", ""))

    @property
    def default(self) -> list[str]:
        """Names and globs, without the family's own, that its bare name stands for; empty: all."""
        return list(self.table.get("default", []))

    @cached_property
    def readers(self) -> dict[str, Callable[[], SAESpec]]:
        """Full name, `family/sae`, to what reads its spec; in natural order."""
        found = {**self._folders(), **self._stanzas()}
        for number, suite in enumerate(self.table.get("suite", ())):
            where = f"{self.path} [[suite]] {number + 1}"
            try:
                for name, reader in self._suite(suite, where):
                    if len(found) >= MOST:
                        raise ValueError(f"it names more than {MOST} SAEs")
                    if name in found:
                        raise ValueError(f"a second SAE is called {name!r}")
                    found[name] = reader
            except ValueError as error:
                raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from error
        if not all(map(harmless, found)):
            bad = next(name for name in found if not harmless(name))
            raise ValueError(f"{self.path}: {bad!r} is no name of an SAE: letters, digits and /._-+ only")
        return {f"{self.name}/{key}": found[key] for key in sorted(found, key=natural)}

    def _folders(self) -> dict[str, Callable[[], SAESpec]]:
        pattern = str(self.table.get("path", ""))
        if _outside(pattern):
            raise ValueError(f"{self.path}: path is {pattern!r}, and should stay below the file's own folder")
        try:
            folders = [folder for folder in matches(self.path.parent, pattern) if folder.is_dir()] if pattern else []
        except ValueError as error:
            raise ValueError(f"{self.path}: path is {pattern!r:.80}: {error}") from None
        # Below what has no star in it, so that `runs/*/final` tells its folders apart.
        top = self.path.parent / constant(pattern)
        return {key: partial(self._from_folder, key, f) for f in folders if (key := str(f.relative_to(top)))}

    def _from_folder(self, key: str, folder: Path) -> SAESpec:
        known = {fact: self.table[fact] for fact in FACTS if fact in self.table}
        control = any(fnmatchcase(name, p) for p in self.table.get("controls", ()) for name in (key, folder.name))
        return replace(read_local(folder, f"{self.name}/{key}"), **known, control=control)

    def _stanzas(self) -> dict[str, Callable[[], SAESpec]]:
        own = self.table.get("sae", {})
        return {key: partial(self._from_stanza, key, self._checked(key, stanza)) for key, stanza in own.items()}

    def _checked(self, key: str, stanza: Any) -> dict[str, Any]:
        where = f"{self.path} [sae.{key}]"
        checked: dict[str, Any] = stanza if isinstance(stanza, dict) else {}
        validated(Stanza, checked, where)
        if _outside(location := str(checked.get("location", ""))):
            raise ValueError(f"{where}: location is {location!r:.80}, and should stay below the file's own folder")
        if "location" not in checked:
            raise ValueError(f"{where} needs a location: a folder or a file, or its path in the repository `repo`")
        return checked

    def _from_stanza(self, key: str, stanza: dict[str, Any]) -> SAESpec:
        known = {fact: self.table[fact] for fact in FACTS if fact in self.table} | stanza
        name, folder = f"{self.name}/{key}", self.path.parent / stanza["location"]
        if "repo" not in known and folder.exists():
            return replace(read_local(folder, name), **known | {"location": str(folder)})
        if known.get("format") not in FORMATS:
            raise ValueError(f"{self.path} [sae.{key}]: {folder} is not there; an SAE of a repository needs a format")
        return SAESpec(**known, name=name, loader="files")

    def _suite(self, suite: Any, where: str) -> Iterator[tuple[str, Callable[[], SAESpec]]]:
        _check_suite(suite, where)
        facts = {key: value for key, value in suite.items() if key in FACTS}
        known = {key: self.table[key] for key in FACTS if key in self.table} | facts
        entries = _registered(suite) if "release" in suite else _listed(suite, where)
        return ((name, partial(self._from_entry, name, known, entry, where)) for name, entry in entries)

    def _from_entry(self, key: str, known: dict[str, Any], entry: dict[str, Any], where: str) -> SAESpec:
        entry = dict(entry)
        values = entry.pop("values")
        facts = {fact: fact_of(value, values, FACTS[fact], f"{where}: {fact}") for fact, value in known.items()}
        facts = {fact: value for fact, value in facts.items() if value is not None}
        return SAESpec(name=f"{self.name}/{key}", loader="files", **{**entry, **facts})


@one_sentence
def read_family(path: Path, name: str = "") -> Family:
    """Read one file; without a name, its own stands before its SAEs'.

    Raises ValueError with one sentence if it is not what it should be.
    """
    table = read_toml(path)
    if not harmless(path.stem):
        raise ValueError(f"{path}: a family's name has letters, digits and ._-+ only")
    validated(File, table, str(path))
    family = Family(name or path.stem, table, path)
    for key, stanza in table.get("sae", {}).items():
        family._checked(key, stanza)
    for number, suite in enumerate(table.get("suite", ())):
        _check_suite(suite, f"{path} [[suite]] {number + 1}")
    return family


def _outside(path: str) -> bool:
    return Path(path).is_absolute() or ".." in Path(path).parts


def harmless(name: str) -> bool:
    """Whether a name can stand in a leaderboard, a terminal and a file name as it is."""
    return bool(re.fullmatch(r"[\w./+-]+", name, re.ASCII)) and ".." not in name.split("/")


def _check_suite(suite: Any, where: str) -> None:
    suite = suite if isinstance(suite, dict) else {}
    templated = {key: value for key, value in suite.items() if key in FACTS}
    validated(Suite, suite, where, FACTS)
    if not ({"name", "release", "id"} <= set(suite) or {"name", "repo", "path", "format"} <= set(suite)):
        raise ValueError(f"{where} needs a name, and either release and id, or repo, path and format")
    if "format" in suite and suite["format"] not in FORMATS:
        raise ValueError(f"{where}: no such format {suite['format']!r:.80}. Known: {', '.join(FORMATS)}")
    for key, value in {**templated, "name": suite["name"]}.items():
        check_fact(value, FACTS.get(key, str), f"{where}: {key}")
    for key, values in suite.get("values", {}).items():
        if not isinstance(values, list) or not values or not all(isinstance(v, str | int) for v in values):
            raise ValueError(
                f"{where}: values of {key!r:.80} are {values!r:.80}, and should be a list of texts or numbers"
            )


def _registered(suite: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """SAEs of sae-lens's releases that the patterns match, by their names here."""
    of_release, of_id = pattern(suite["release"]), pattern(suite["id"])
    for release, about in releases().items():
        if (at := of_release.fullmatch(release)) is None:
            continue
        for sae in about["saes"]:
            if (found := of_id.fullmatch(str(sae["id"]))) is not None:
                values = {"l0": sae.get("l0"), **at.groupdict(), **found.groupdict()}
                name = fact_of(suite["name"], values, str, suite["release"])
                if name is not None:  # a table of names may leave some out
                    yield str(name), {**registered_entry(release, about, sae), "values": values}


def registered_entry(release: str, about: dict[str, Any], sae: dict[str, Any]) -> dict[str, Any]:
    """What sae-lens's registry says of one SAE."""
    facts = scalars(sae, "id", "path")
    if "l0" not in facts and (named := re.search(r"average_l0_(\d+)", str(sae["path"]))):
        facts["l0"] = int(named[1])
    return {
        "repo": about["repo_id"], "location": str(sae["path"]), "format": about.get("conversion_func") or "sae_lens",
        "release": f"{release}/{sae['id']}", "model": model_on_hub(about["model"]), "facts": facts,
    }  # fmt: skip


def _listed(suite: dict[str, Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All combinations of the values."""
    keys = list(suite.get("values", {}))
    if math.prod(len(suite["values"][key]) for key in keys) > MOST:
        raise ValueError(f"{where} names more than {MOST} SAEs")
    for combination in itertools.product(*(suite["values"][key] for key in keys)):
        values = dict(zip(keys, map(str, combination), strict=True))
        entry = {"repo": suite["repo"], "location": suite["path"], "format": suite["format"]}
        entry = {key: filled(value, values, where) for key, value in entry.items()}
        yield str(fact_of(suite["name"], values, str, where)), {**entry, "facts": {}, "values": values}
