"""`--sae` patterns to SAESpecs, from data files and folders alone: nothing heavy is imported, no weights are loaded."""

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from saebench.catalogue.families import Family, harmless, read_family, registered_entry
from saebench.catalogue.local import PREFIX, local_name, matches, path_of, read_local
from saebench.catalogue.marks import UnknownSAE, at, control_of
from saebench.catalogue.pretrained import releases
from saebench.catalogue.spec import SAESpec
from saebench.record.naming import natural, nearest, one_sentence
from saebench.record.places import fixtures_dir

PYTHON = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
DESCRIPTIVE = ("name", "loader", "release", "facts", "origin")
"""What two specs of one SAE may differ in: nothing is computed from it that is not in the rest."""
KINDS = "a folder or file, saelens:RELEASE/SAE_ID, hf:ORG/REPO/PATH, package.module:callable"


@one_sentence
def families(root: Path | None = None) -> list[Family]:
    """All SAE families, in the order of their names."""
    paths = sorted((root or fixtures_dir()).glob("*.toml"))
    if root is not None:
        return [read_family(path) for path in paths]
    known = [_packaged(path, path.stat().st_mtime_ns) for path in paths]
    # Which folders there are may have changed.
    return [replace(family) if "path" in family.table else family for family in known]


@cache
def _packaged(path: Path, changed: int) -> Family:
    """Read once as long as it stays as it is."""
    return read_family(path)


def specs_of(family: str, root: Path | None = None) -> list[SAESpec]:
    """Every SAE of a family."""
    return [read() for known in families(root) if known.name == family for read in known.readers.values()]


@one_sentence
def resolve_all(patterns: Iterable[str], root: Path | None = None) -> list[SAESpec]:
    """Resolve several patterns; an SAE that several of them name comes once, at its first place."""
    found: dict[str, SAESpec] = {}
    for spec in (spec for pattern in patterns for spec in _resolved(pattern, root)):
        found.setdefault(spec.name, spec)
    return _readable(list(found.values()))


@one_sentence
def resolve(pattern: str, root: Path | None = None) -> list[SAESpec]:
    """Turn one `--sae` pattern into specs; never an empty list.

    A pattern is a family or a name in one (`organism`, `gemmascope/2b/layer-*/16k`), a family file or a name in it
    (`./mine.toml`, `./mine.toml/topk-*`), a folder or file (`./runs/mine`, `~/runs/*`) or the name that it has in scores
    (`local/runs/mine`), `saelens:RELEASE/SAE_ID`, `hf:ORG/REPO/PATH`, or `package.module:callable`. Known names win over
    folders that are called alike. With `@HOOK` behind it, SAEs are read there; with `@REVISION`, those of the hub are
    taken as they were then; with `~CONTROL`, it names a control that is made for each of these SAEs.

    Of several SAEs some may be unreadable, which they say when they are loaded; raises ValueError where all are.
    """
    return _readable(_resolved(pattern, root))


def _readable(specs: list[SAESpec]) -> list[SAESpec]:
    told = [own.facts["unreadable"] for spec in specs if (own := spec.origin or spec).loader == "unreadable"]
    if told and len(told) == len(specs):
        raise ValueError(told[0])
    return specs


def _resolved(pattern: str, root: Path | None) -> list[SAESpec]:
    for mark, put in {"~": control_of, "@": at}.items():
        base, found, what = pattern.rpartition(mark)
        behind = found == "@" or not set("/@") & set(what)  # else it is a part of a path
        if base and found and behind and not _lies_here(pattern):
            return [put(spec, what, pattern) for spec in _resolved(base, root)]
    known = families(root)
    if specs := _from_families(pattern.rstrip("/"), known):
        return specs
    if pattern.startswith(PREFIX):
        return _from_here(_meant(pattern))
    if pattern.startswith((".", "/", "~")) or (pattern and _lies_here(pattern)):
        return _from_here(pattern)
    if pattern.startswith("saelens:"):
        return _from_saelens(pattern)
    if pattern.startswith("hf:"):
        return [_from_hub(pattern)]
    if PYTHON.fullmatch(pattern):
        return [_from_python(pattern)]
    raise _unknown(pattern, known)


def _from_families(pattern: str, known: list[Family]) -> list[SAESpec]:
    """SAEs by name or glob; the bare name of a family stands for what its file says."""
    first, slash, rest = pattern.partition("/")
    of_name = [family for family in known if family.name == first]
    if of_name and not slash:
        return _chosen(of_name[0], of_name[0].default)
    if of_name:
        return _chosen(of_name[0], [rest])
    return [spec for family in known if re.search(r"[*?\[]", first) for spec in _named(family, [pattern])]


def _chosen(family: Family, patterns: list[str]) -> list[SAESpec]:
    if not family.readers:
        raise UnknownSAE(f"--sae {family.name}: this family is empty; look at the path in {family.path.name}")
    return _named(family, [f"{family.name}/{pattern}" for pattern in patterns] or ["*"])


def _named(family: Family, patterns: list[str]) -> list[SAESpec]:
    """SAEs of a family by full name or glob. One that has two names comes once, under the first that matches."""
    found: dict[tuple[Any, ...], SAESpec] = {}
    for spec in (family.readers[name]() for pattern in patterns for name in _names(family, pattern)):
        found.setdefault(tuple(fact for key, fact in vars(spec).items() if key not in DESCRIPTIVE), spec)
    return list(found.values())


def _names(family: Family, pattern: str) -> list[str]:
    return [pattern] if pattern in family.readers else [n for n in family.readers if fnmatchcase(n, pattern)]


def _from_here(pattern: str) -> list[SAESpec]:
    """SAEs on this machine: members of a family file of the user's own, or a folder, file, or glob of folders."""
    if (own := _own_family(pattern)) is not None:
        family = read_family(own[0], local_name(own[0]))
        return _of_own(family, [own[1]] if own[1] else family.default, pattern)
    return [read_local(folder, local_name(folder)) for folder in _folders(pattern)]


def _own_family(pattern: str) -> tuple[Path, str] | None:
    """A family file and what is named in it, of `mine.toml/topk-*`; None where there is no such file."""
    for match in re.finditer(r"\.toml(?=/|$)", pattern):
        if (path := Path(pattern[: match.end()]).expanduser()).is_file():
            return path, pattern[match.end() :].strip("/")
    return None


def _of_own(family: Family, wanted: list[str], pattern: str) -> list[SAESpec]:
    known = [name.removeprefix(f"{family.name}/") for name in family.readers]
    if known and (wrong := [name for name in wanted if not _names(family, f"{family.name}/{name}")]):
        hint = (
            f"{nearest(wrong[0], known)} Known: {', '.join(known[:5])}{', ...' * (len(known) > 5)} ({len(known)} SAEs)"
        )
        raise UnknownSAE(f"--sae {pattern}: {family.path} has no SAE '{wrong[0]}'.{hint}")
    return _chosen(family, wanted)


def _lies_here(pattern: str) -> bool:
    """Whether it names something on this machine as it is, any `~` and `@` in it included."""
    if (own := _own_family(pattern)) is not None:
        return not set("~@") & set(own[1])
    path = Path(pattern).expanduser()
    try:
        return path.exists() or bool(matches(Path(), str(path)))
    except ValueError:
        return False


def _meant(name: str) -> str:
    """The path that a name of scores, `local/runs/mine`, stands for; a folder called `local` may be meant as well."""
    path = path_of(name)
    if _lies_here(path) and _lies_here(name):
        raise UnknownSAE(
            f"--sae {name}: this is the name of {path}, and there is a folder {name} too: write ./{name} or ./{path}"
        )
    return name if _lies_here(name) else path


def _folders(pattern: str) -> list[Path]:
    """The folder or file, or what a glob matches of them."""
    path = Path(pattern).expanduser()
    if path.exists():
        return [path]
    try:
        found = matches(Path(), str(path))
    except ValueError as error:
        raise UnknownSAE(f"--sae {pattern}: {error}") from None
    if folders := [folder for folder in sorted(found, key=lambda p: natural(str(p))) if folder.is_dir()]:
        return folders
    while not path.parent.exists():
        path = path.parent
    raise UnknownSAE(f"--sae {pattern}: no such folder.{nearest(str(path), map(str, path.parent.glob('*')))}")


def _from_saelens(pattern: str) -> list[SAESpec]:
    release, _, sae_id = pattern.removeprefix("saelens:").partition("/")
    if release not in releases():
        raise UnknownSAE(f"--sae {pattern}: sae-lens has no release '{release}'.{nearest(release, releases())}")
    about = releases()[release]
    entries = {str(entry["id"]): entry for entry in about["saes"]}
    matching = [sae_id] if sae_id in entries else [known for known in entries if fnmatchcase(known, sae_id)]
    if not matching:
        hint = f"{nearest(sae_id, entries)} Known: {', '.join([*entries][:3])}, ... ({len(entries)} SAEs)"
        raise UnknownSAE(f"--sae {pattern}: release '{release}' has no SAE '{sae_id}'.{hint}")
    found = [(name, registered_entry(release, about, entries[name])) for name in matching]
    return [SAESpec(name=f"saelens:{release}/{name}", loader="files", **entry) for name, entry in found]


def _from_hub(pattern: str) -> SAESpec:
    parts = pattern.removeprefix("hf:").strip("/").split("/")
    if len(parts) < 2 or not all(map(harmless, parts)) or ".." in parts:
        raise UnknownSAE(f"--sae {pattern}: expected hf:ORG/REPO, or hf:ORG/REPO/PATH of a folder or file in it")
    return SAESpec(f"hf:{'/'.join(parts)}", "files", location="/".join(parts[2:]), repo="/".join(parts[:2]))


def _from_python(pattern: str) -> SAESpec:
    check_module(f"--sae {pattern}", pattern)
    return SAESpec(name=pattern, loader="python", location=pattern)


def check_module(option: str, location: str) -> None:
    """Raise UnknownSAE if there is no package or module of `package.module:attribute`; nothing is imported."""
    top = re.split(r"[.:]", location)[0]
    # Only the top package: to find a submodule, Python imports its parents.
    if importlib.util.find_spec(top) is None and PathFinder.find_spec(top, [str(Path.cwd())]) is None:
        raise UnknownSAE(f"{option}: no module '{top}' in this folder or among the installed packages")


def _unknown(pattern: str, known: list[Family]) -> UnknownSAE:
    own = [family for family in known if family.name == pattern.partition("/")[0]] or known
    names = [*(family.name for family in known), *(name for family in own for name in family.readers)]
    listing = ", ".join(f"{family.name} ({len(family.readers)} SAEs)" for family in known) or "no families"
    return UnknownSAE(
        f"--sae {pattern}: no such SAE.{nearest(pattern.replace('*', ''), names)} Known: {listing}; or {KINDS}"
    )
