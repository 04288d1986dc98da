"""`--sae` patterns to SAESpecs, from data files and folders alone: nothing heavy is imported, no weights are loaded."""

import difflib
import glob
import hashlib
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, TypeVar

from saebench.spec import SAESpec

T = TypeVar("T")
CONTROLS = (
    "random", "random_l0", "permuted_decoder", "pca", "identity", "best_k", "frozen", "soft_frozen", "shuffled_rows",
)  # fmt: skip
"""What `SAE~CONTROL` may name; see `saebench.controls`."""
CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
STANZA_KEYS: Mapping[str, type] = {
    "location": str, "loader": str, "model": str, "hook": str, "context_size": int, "prepend_bos": bool,
    "normalisation": str, "revision": str, "digest": str, "control": bool,
}  # fmt: skip
FAMILY_KEYS: Mapping[str, type] = {
    "loader": str, "path": str, "model": str, "hook": str, "about": str, "sae": dict,
    "controls": list,
    "words": dict,
}  # fmt: skip


class UnknownSAE(ValueError):
    """A `--sae` pattern that names nothing; the message is one sentence with the nearest match."""


@dataclass(frozen=True)
class Family:
    """One file `fixtures/<name>.toml`. Its SAEs are named at once and read only when asked for."""

    name: str
    about: str = ""
    readers: Mapping[str, Callable[[], SAESpec]] = field(default_factory=dict)
    """Full name, `family/sae`, to what reads its spec; in natural order."""


def fixtures_dir() -> Path:
    """The folder with the family files: inside an installed package, else beside it in the repository."""
    package = Path(__file__).parent
    # Inside first: in site-packages, a folder `fixtures` beside the package belongs to another distribution.
    return package / "_fixtures" if (package / "_fixtures").is_dir() else package.parent / "fixtures"


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which `k16` comes before `k128`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the most similar known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


def families(root: Path | None = None) -> list[Family]:
    """All SAE families, in the order of their names."""
    return [_read_family(path, path.parent) for path in sorted((root or fixtures_dir()).glob("*.toml"))]


def all_specs(root: Path | None = None) -> list[SAESpec]:
    """Every SAE of every family."""
    return [read() for family in families(root) for read in family.readers.values()]


def resolve_all(patterns: Iterable[str], root: Path | None = None) -> list[SAESpec]:
    """Resolve several patterns; an SAE that several of them name comes once, at its first place."""
    found: dict[str, SAESpec] = {}
    for spec in (spec for pattern in patterns for spec in resolve(pattern, root)):
        other = found.setdefault(spec.name, spec)
        if other.location != spec.location:
            raise ValueError(f"{other.location} and {spec.location} are both called {spec.name}: rename a folder")
    return list(found.values())


def resolve(pattern: str, root: Path | None = None) -> list[SAESpec]:
    """Turn one `--sae` pattern into specs; never an empty list.

    A pattern is a family or a name in one (`organism`, `organism/topk-*`), a folder (`./runs/mine`, `~/runs/*`),
    `saelens:RELEASE/SAE_ID`, or `package.module:callable`. Known names win over folders that are called alike.
    With `~CONTROL` behind it, it names a control that is made for each of these SAEs.
    """
    base, tilde, control = pattern.rpartition("~")
    if base and tilde and not Path(pattern).exists():
        return [_control(spec, control, pattern) for spec in resolve(base, root)]
    known = families(root)
    if found := _from_families(pattern.rstrip("/"), known):
        return found
    if pattern.startswith((".", "/", "~")) or (pattern and Path(pattern).is_dir()):
        return [spec_from_folder(folder, f"local/{folder.resolve().name}") for folder in _folders(pattern)]
    if pattern.startswith("saelens:"):
        return _from_saelens(pattern)
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", pattern):
        return [_from_python(pattern)]
    raise _unknown(pattern, known)


def spec_from_folder(folder: str | Path, name: str) -> SAESpec:
    """Read the facts of an SAE in sae-lens's disk format; `digest` covers configuration and weights."""
    where, weights = Path(folder) / CONFIG, Path(folder) / WEIGHTS
    if missing := [file.name for file in (where, weights) if not file.is_file()]:
        raise ValueError(f"{folder} is not an SAE in sae-lens's format: it has no {' and no '.join(missing)}")
    try:
        config = _typed({"content": json.loads(where.read_bytes())}, "content", dict, where) or {}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    _check_weights(weights)
    meta = _typed(config, "metadata", dict, where) or {}
    return SAESpec(
        name=name, loader="sae_lens", location=str(folder), digest=_sha256(_digest(where), _digest(weights)),
        model=_typed(meta, "model_name", str, where), hook=_typed(meta, "hook_name", str, where),
        context_size=_typed(meta, "context_size", int, where),
        prepend_bos=_typed(meta, "prepend_bos", bool, where) is not False,
        normalisation=_typed(config, "normalize_activations", str, where) or "none",
        architecture=_typed(config, "architecture", str, where),
        d_in=_typed(config, "d_in", int, where), d_sae=_typed(config, "d_sae", int, where),
        facts=_scalars(meta, "model_name", "hook_name", "context_size", "prepend_bos"),
    )  # fmt: skip


def _read_family(path: Path, root: Path) -> Family:
    try:
        table = tomllib.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    _check_keys(table, FAMILY_KEYS, str(path))
    folders = root.glob(table["path"]) if "path" in table else ()
    stanzas: dict[str, dict[str, Any]] = {f.name: {"location": str(f)} for f in folders if f.is_dir()}
    for name in stanzas:
        stanzas[name]["control"] = any(fnmatchcase(name, pattern) for pattern in table.get("controls", ()))
    stanzas |= {key: _checked(table, own, f"{path} [sae.{key}]") for key, own in table.get("sae", {}).items()}
    names = {f"{path.stem}/{key}": stanzas[key] for key in sorted(stanzas, key=natural)}
    readers = {name: partial(_from_stanza, table | stanza, name, root) for name, stanza in names.items()}
    return Family(path.stem, table.get("about", ""), readers)


def _checked(table: dict[str, Any], stanza: dict[str, Any], where: str) -> dict[str, Any]:
    stanza = stanza if isinstance(stanza, dict) else {}
    _check_keys(stanza, STANZA_KEYS, where)
    if "location" not in stanza or "loader" not in table | stanza:
        raise ValueError(f"{where} needs a location, and a loader there or at the top of the file")
    return stanza


def _from_stanza(stanza: dict[str, Any], name: str, root: Path) -> SAESpec:
    folder = root / stanza["location"]
    known = {key: stanza[key] for key in STANZA_KEYS if key in stanza}
    if folder.is_dir():
        return replace(spec_from_folder(folder, name), **known | {"location": str(folder)})
    return SAESpec(name, **known)


def _from_families(pattern: str, known: list[Family]) -> list[SAESpec]:
    if any(pattern == family.name and not family.readers for family in known):
        raise UnknownSAE(f"--sae {pattern}: this family is empty; look at the path in {pattern}.toml")
    named = [(family.name, *item) for family in known for item in family.readers.items()]
    return [read() for family, name, read in named if pattern in (family, name) or fnmatchcase(name, pattern)]


def _control(spec: SAESpec, control: str, pattern: str) -> SAESpec:
    if control not in CONTROLS:
        raise UnknownSAE(f"--sae {pattern}: no such control.{nearest(control, CONTROLS)} Known: {', '.join(CONTROLS)}")
    return SAESpec(
        f"{spec.name}~{control}", "control", spec.location if spec.name.startswith("local/") else spec.name, model=spec.model, hook=spec.hook,
        context_size=spec.context_size, d_in=spec.d_in, control=True,
    )  # fmt: skip


def _folders(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    found = [path] if path.exists() else [Path(match) for match in glob.glob(str(path))]  # noqa: PTH207 -- absolute
    if folders := [folder for folder in sorted(found, key=lambda p: natural(str(p))) if folder.is_dir()]:
        return folders
    raise UnknownSAE(f"--sae {pattern}: no such folder.{nearest(str(path), map(str, path.parent.glob('*')))}")


def _from_saelens(pattern: str) -> list[SAESpec]:
    registry = _saelens_registry()
    release, _, sae_id = pattern.removeprefix("saelens:").partition("/")
    if release not in registry:
        raise UnknownSAE(f"--sae {pattern}: sae-lens has no release '{release}'.{nearest(release, registry)}")
    entries = {str(entry["id"]): entry for entry in registry[release]["saes"]}
    matching = [sae_id] if sae_id in entries else [known for known in entries if fnmatchcase(known, sae_id)]
    if not matching:
        hint = f"{nearest(sae_id, entries)} Known: {', '.join([*entries][:3])}, ... ({len(entries)} SAEs)"
        raise UnknownSAE(f"--sae {pattern}: release '{release}' has no SAE '{sae_id}'.{hint}")
    return [_saelens_spec(release, registry[release], entries[known]) for known in matching]


def _saelens_spec(release: str, about: dict[str, Any], entry: dict[str, Any]) -> SAESpec:
    location = f"{release}/{entry['id']}"
    # The weights are not here yet: their address and sae-lens's own entry stand for them.
    digest = _sha256(location, json.dumps([about.get("repo_id"), entry], sort_keys=True, default=str))
    facts = _scalars(entry, "id", "path")
    return SAESpec(f"saelens:{location}", "sae_lens_hub", location, digest, model=about.get("model"), facts=facts)


def _saelens_registry() -> dict[str, Any]:
    import yaml

    package = importlib.util.find_spec("sae_lens")
    if package is None or not package.submodule_search_locations:
        raise ValueError("saelens:RELEASE/SAE_ID needs sae-lens: pip install sae-lens")
    text = (Path(package.submodule_search_locations[0]) / "pretrained_saes.yaml").read_text()
    return _typed({"": yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))}, "", dict, "") or {}


def _from_python(pattern: str) -> SAESpec:
    top = re.split(r"[.:]", pattern)[0]
    # Only the top package: to find a submodule, Python imports its parents.
    if importlib.util.find_spec(top) is None and PathFinder.find_spec(top, [str(Path.cwd())]) is None:
        raise UnknownSAE(f"--sae {pattern}: no module '{top}' in this folder or among the installed packages")
    return SAESpec(name=pattern, loader="python", location=pattern)


def _unknown(pattern: str, known: list[Family]) -> UnknownSAE:
    names = [name for family in known for name in (family.name, *family.readers)]
    listing = ", ".join(f"{family.name} ({len(family.readers)} SAEs)" for family in known) or "no families"
    listing += "; or a folder, saelens:RELEASE/SAE_ID, package.module:callable"
    return UnknownSAE(f"--sae {pattern}: no such SAE.{nearest(pattern.replace('*', ''), names)} Known: {listing}")


def _check_weights(path: Path) -> None:
    """Compare the file's size with what the safetensors header promises: 8 bytes of length, JSON, data."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 100_000_000)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError(f"{path} is not a safetensors file: empty, cut off, or of another format") from None
    if (size := path.stat().st_size) != (promised := 8 + length + max(ends, default=0)):
        raise ValueError(f"{path} is damaged: it has {size} bytes, and its header promises {promised}")


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _scalars(table: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {k: v for k, v in table.items() if k not in without and isinstance(v, str | int | float | None)}


def _typed(table: Mapping[str, Any], key: str, kind: type[T], where: Path | str) -> T | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ValueError(f"{where}: {key} is {value!r}, and should be {kind.__name__}")
    return value


def _check_keys(table: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where}: unknown key '{key}'.{nearest(key, known)} Known: {', '.join(known)}")
        _typed(table, key, known[key], where)
