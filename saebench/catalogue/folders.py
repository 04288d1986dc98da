"""SAEs that lie on this machine: their facts, read from configuration files and from the headers of weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saebench.catalogue.checking import PICKLED, check
from saebench.catalogue.formats import detect_folder
from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.weights import header
from saebench.record.json_files import read_json, typed
from saebench.record.naming import one_sentence, shown


@one_sentence
def spec_from_folder(folder: str | Path, name: str) -> SAESpec:
    """Read the facts of an SAE; `digest` covers configuration and weights.

    Raises ValueError with one sentence if it is none, or damaged.
    """
    folder = Path(folder)
    form = detect_folder(folder)
    if form is None:
        raise ValueError(_not_an_sae(folder))
    files = [folder.parent / name for name in FORMATS[form].required(folder.name)]
    try:
        _check(folder, form, files)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    facts = _facts(folder, form)
    return SAESpec(
        name=name, loader="files", location=str(folder), format=form, digest=digest_of_files(dict(zip(FORMATS[form].roles, files, strict=True))), **facts
    )  # fmt: skip


def _check(folder: Path, form: str, files: list[Path]) -> None:
    """Refuse what is damaged, or not understood, by headers alone; what is in a torch checkpoint is seen when it is loaded."""
    for file in files:
        if file.suffix in PICKLED:
            header(file)
    if (config := _configured(folder)) is not None:
        raise ValueError(
            f"{folder} is part of an SAE whose {config.name} says how to read it: name its folder {folder.parent}"
        )
    check(form, folder.name, lambda name: found if (found := folder.parent / name).is_file() else None)


def _configured(file: Path) -> Path | None:
    """The configuration that a lone file belongs to, where it is one of the files of a folder with an SAE."""
    folder = file.parent.absolute()
    form = detect_folder(folder) if file.is_file() else None
    names = [folder / Path(name).name for name in FORMATS[form].all(folder.name)] if form is not None else []
    configs = [name for name in names if name.suffix == ".json" and name.is_file()]
    return next(iter(configs), None) if folder / file.name in names else None


def _not_an_sae(folder: Path) -> str:
    needed = "; ".join(" and ".join(Path(f).name for f in FORMATS[n].files) for n in ("sae_lens", "sparsify"))
    return (
        f"{folder} is not an SAE in a known format: it has neither {needed}; config.json and ae.pt; params.npz;"
        " nor is it a .safetensors, .npz or .pt file"
    )


def _facts(folder: Path, form: str) -> dict[str, Any]:
    """What the configuration says; other formats tell when they are loaded."""
    if form != "sae_lens":
        return {}
    where = folder / "cfg.json"
    config = read_json(where)
    meta = typed(config, "metadata", dict, where) or {}
    return {
        "model": typed(meta, "model_name", str, where), "hook": typed(meta, "hook_name", str, where),
        "hook_out": typed(meta, "hook_name_out", str, where), "context_size": typed(meta, "context_size", int, where),
        "prepend_bos": typed(meta, "prepend_bos", bool, where) is not False,
        "normalisation": _normalisation(config, where),
        "architecture": typed(config, "architecture", str, where), "d_in": typed(config, "d_in", int, where),
        "d_sae": typed(config, "d_sae", int, where),
        "facts": scalars(meta, "model_name", "hook_name", "hook_name_out", "context_size", "prepend_bos"),
    }  # fmt: skip


def _normalisation(config: Mapping[str, Any], where: Path) -> str:
    """Before version 3, sae-lens said whether, not how."""
    if isinstance(config.get("normalize_activations"), bool):
        return "expected_average_only_in" if config["normalize_activations"] else "none"
    return typed(config, "normalize_activations", str, where) or "none"


def digest_of_files(files: Mapping[str, Path]) -> str:
    """sha256 over their contents, each with its role (`Format.roles`): a file that is renamed is the same SAE."""
    return hashlib.sha256("\n".join(f"{role} {_digest(path)}" for role, path in files.items()).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scalars(table: Mapping[str, Any], *without: str) -> dict[str, Any]:
    kept = {k: v for k, v in table.items() if k not in without and isinstance(v, str | int | float | None)}
    return {shown(str(k)): shown(v) if isinstance(v, str) else v for k, v in kept.items()}
