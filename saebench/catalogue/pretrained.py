"""sae-lens's registry of pretrained SAEs and transformer-lens's of model names, read as data: nothing is imported."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any


def _folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ValueError(f"the package {package} is not installed: pip install {package.replace('_', '-')}")
    return Path(found.submodule_search_locations[0])


CORRECTED = {"gemma-scope-9b-it-res": "gemma-2-9b-it"}
"""Models that sae-lens's converter names otherwise than its registry: the converter is right."""


@cache
def releases() -> dict[str, Any]:
    """By name of the release: `repo_id`, `model`, `conversion_func`, and `saes` with `id`, `path`, `l0`."""
    import yaml

    text = (_folder("sae_lens") / "pretrained_saes.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    for release, model in CORRECTED.items():
        found[release]["model"] = model
    return found


@cache
def _aliases() -> dict[str, str]:
    path = _folder("transformer_lens") / "supported_models.py"
    spec = importlib.util.spec_from_file_location("saebench_supported_models", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} cannot be read")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {alias: name for name, aliases in module.MODEL_ALIASES.items() for alias in aliases}


RENAMED = {"gpt2": "openai-community/gpt2"}
"""The hub redirects the old name; one model has one name here."""


def model_on_hub(name: str) -> str:
    """Name on the hub of a model by its short name in transformer-lens, as `gemma-2-2b`; other names stay."""
    found = name if "/" in name else _aliases().get(name, name)
    return RENAMED.get(found, found)
