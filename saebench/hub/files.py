"""Where an SAE's files are: on this machine, or in the local cache of the hub."""

from pathlib import Path

from saebench.catalogue.formats import FOLDERS, UNSUPPORTED, detect
from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.format import SUFFIXES
from saebench.catalogue.spec import SAESpec
from saebench.hub.hub import Repo

DEFAULT_REVISION = "main"


def repo_of(spec: SAESpec) -> Repo | None:
    """The SAE's repository on the hub, at its revision."""
    return Repo(spec.repo, spec.revision or DEFAULT_REVISION) if spec.repo else None


def file_of(spec: SAESpec, name: str) -> Path | None:
    """A file of the SAE by its name in the repository, or below the parent of a local folder; None if it is not here."""
    if (repo := repo_of(spec)) is not None:
        return repo.local(name)
    path = Path(spec.location).parent / name
    return path if path.is_file() else None


def place_of(spec: SAESpec) -> str:
    """What stands for `{path}` in the names of its files."""
    return spec.location if spec.repo else Path(spec.location).name


def format_of(spec: SAESpec) -> str | None:
    """Its format, by the files that are here if nothing else says; None if they are not.

    Raises ValueError with one sentence if it is one that is not evaluated.
    """
    if spec.format in UNSUPPORTED:
        raise ValueError(f"{spec.name}: {UNSUPPORTED[spec.format]}")
    return spec.format or detect(place_of(spec), lambda name: file_of(spec, name) is not None)


def names_of(spec: SAESpec) -> list[str]:
    """Names of all files that it may have; where its format is unknown, of those of any."""
    place = place_of(spec)
    if (form := format_of(spec)) is not None:
        return FORMATS[form].all(place)
    if place.endswith(SUFFIXES):
        return [place]
    return list(dict.fromkeys(file for name in FOLDERS for file in FORMATS[name].all(place)))


def missing(spec: SAESpec) -> list[str]:
    """Files that are not here, and have to be."""
    form = format_of(spec)
    if form is None:
        return [place_of(spec) or "its files"]
    return [name for name in FORMATS[form].required(place_of(spec)) if file_of(spec, name) is None]


def digested(spec: SAESpec) -> dict[str, Path]:
    """The files that make it what it is, by their role; others may be absent."""
    form = format_of(spec)
    if form is None:
        return {}
    found = zip(FORMATS[form].roles, FORMATS[form].required(place_of(spec)), strict=True)
    return {role: path for role, name in found if (path := file_of(spec, name)) is not None}


def here(spec: SAESpec) -> list[Path]:
    """Paths of all its files that are here."""
    found = [file_of(spec, name) for name in names_of(spec)]
    return [path for path in found if path is not None]
