"""Language models by name: the embedded one, a folder, or one of the hub in the local cache. Nothing heavy is imported."""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from saebench.catalogue.pretrained import model_on_hub
from saebench.hub import gguf
from saebench.hub.hub import Repo
from saebench.hub.wheels import is_packaged
from saebench.record.json_files import read_json
from saebench.record.naming import shown_model
from saebench.record.places import ORGANISM, fixtures_dir, organism_folder
from saebench.toy.worlds import is_toy, world_of

CONFIG = "config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
PATTERNS = ("*.json", "*.model", "merges.txt", "model*.safetensors")
"""Files at the top of a model's repository that are fetched; pickled weights are not, nor the same in another form."""
DTYPES = ("float32", "bfloat16", "float16")
"""Numbers that a model may be run in."""
LENGTHS = ("n_positions", "max_position_embeddings", "n_ctx", "max_sequence_length", "seq_length")


def lies_here(name: str) -> bool:
    """Whether a model is none of the hub: the embedded one, a toy, a folder, a GGUF file, or a member of a wheel."""
    own = name == ORGANISM or is_toy(name) or is_packaged(name) or gguf.is_gguf(name)
    return own or Path(name).expanduser().is_dir()


def repo_of_model(name: str) -> Repo | None:
    """Its repository, `ORG/NAME` or `ORG/NAME@REVISION`; None for what lies on this machine."""
    if lies_here(name):
        return None
    base, _, revision = name.partition("@")
    return Repo(model_on_hub(base), revision or "main")


def model_folder(name: str) -> Path:
    """The folder with configuration, weights and tokenizer. Raises OSError if it is not on this machine."""
    if gguf.is_gguf(name):
        if not gguf.is_whole(folder := gguf.folder_of(name)):
            raise OSError(f"the model {shown_model(name)} is not in the cache: `saebench fetch` brings it")
        return folder
    if (repo := repo_of_model(name)) is None:
        return organism_folder() if name == ORGANISM else Path(name).expanduser()
    path = repo.local(CONFIG)
    if path is None:
        raise OSError(f"the model {repo} is not in the cache: saebench fetch --sae-model {repo}")
    return path.parent


def missing_of_model(name: str) -> list[str]:
    """Files of a model that are not on this machine, and have to be."""
    if name == ORGANISM or (is_toy(name) and world_of(name)):
        return []
    if gguf.is_gguf(name):
        return [] if gguf.is_whole(gguf.folder_of(name)) else [f"its weights of {shown_model(name)}"]
    there = _local if (repo := repo_of_model(name)) is None else lambda _, file: repo.local(file)
    folder = Path(name).expanduser()
    lacking = [CONFIG] if there(folder, CONFIG) is None else []
    if all(there(folder, file) is None for file in TOKENIZERS):
        lacking.append("tokenizer")
    return [*lacking, *(file for file in _weights(there, folder) if there(folder, file) is None)]


def _local(folder: Path, file: str) -> Path | None:
    return folder / file if (folder / file).is_file() else None


def _weights(there: Any, folder: Path) -> list[str]:
    """Names of the files with the weights: one, or all that the index lists."""
    index = there(folder, INDEX)
    if index is None or there(folder, WEIGHTS) is not None:
        return [WEIGHTS]
    files = read_json(index).get("weight_map", {})
    return sorted({str(file) for file in files.values()}) if isinstance(files, dict) else [WEIGHTS]


def revision_of_model(name: str) -> str:
    """Commit of a model of the hub; empty for others."""
    repo = repo_of_model(name)
    return repo.commit() if repo is not None else ""


def model_config(name: str) -> dict[str, Any]:
    """The model's own configuration; that of its text part where it has several."""
    if is_toy(name):
        return {"hidden_size": world_of(name).dimensions}
    config = read_json(model_folder(name) / CONFIG)
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def context_of(name: str) -> int | None:
    """Positions that the model has, if its configuration says so."""
    return _whole(name, LENGTHS)


def width_of(name: str) -> int | None:
    """Dimensions of the residual stream."""
    return _whole(name, ("hidden_size", "n_embd", "d_model"))


def layers_of(name: str) -> int | None:
    return _whole(name, ("num_hidden_layers", "n_layer", "num_layers"))


def _whole(name: str, keys: Iterable[str]) -> int | None:
    """The first of some numbers that the configuration has."""
    config = model_config(name)
    for key in keys:
        if config.get(key) is not None:
            if type(config[key]) is not int or config[key] < 1:
                raise ValueError(
                    f"the model {shown_model(name)}: {key} is {config[key]!r:.80}, and should be a positive whole number"
                )
            return int(config[key])
    return None


def model_digest(name: str) -> str:
    """sha256 over a local model's weights, configuration and tokenizer; of one of the hub, over its name and commit.

    Of a toy world, over all that its samples depend on.
    """
    if is_toy(name):
        return world_of(name).digest
    if gguf.is_gguf(name):
        return gguf.digest_of(name)
    if (repo := repo_of_model(name)) is not None:
        return hashlib.sha256(json.dumps([repo.name, repo.commit() or repo.revision]).encode()).hexdigest()
    sha = hashlib.sha256()
    # Of the embedded model, what its scores have been known by; of others, all that is read.
    patterns = (CONFIG, "tokenizer.json", "*.safetensors") if name == ORGANISM else PATTERNS
    for path in sorted(model_folder(name).glob("*")):
        if any(fnmatchcase(path.name, pattern) for pattern in patterns):
            sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def subject_digest(name: str, *, centred: bool, dtype: str) -> str:
    """The model's digest, with what else its activations depend on."""
    how = [*(["centred"] if centred else []), *([f"torch.{dtype}"] if dtype != DTYPES[0] else [])]
    return " ".join([*how, _digest(name)])


_digest = cache(model_digest)


def default_hook(model: str) -> str | None:
    """Hook of the family of a model's name, for SAEs that do not say where they read it."""
    hook: str | None = model_facts(model).get("hook")
    return hook


@cache
def model_facts(model: str) -> dict[str, Any]:
    """What the family file in fixtures/ says of whose SAEs this is the model, and that says where they read it."""
    tables = (tomllib.loads(path.read_text()) for path in sorted(fixtures_dir().glob("*.toml")))
    return next((table for table in tables if table.get("model") == model and "hook" in table), {})
