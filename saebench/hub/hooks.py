"""Whether an SAE's files say which hook it reads."""

import re
from typing import Any

from saebench.catalogue.spec import SAESpec
from saebench.hub.files import file_of, format_of, place_of
from saebench.record.json_files import read_json


def unsaid(spec: SAESpec) -> bool:
    """Whether neither its name nor its files say which hook an SAE reads; False where only loading it can tell."""
    if spec.hook is not None or spec.loader != "files":
        return False
    place, form = place_of(spec), format_of(spec)
    if form == "sae_lens":
        config = _json(spec, f"{place}/cfg.json")
        inner = config.get("metadata")
        told = {**config, **(inner if isinstance(inner, dict) else {})}
        return bool(config) and not any(told.get(key) for key in ("hook_name", "hook_point"))
    if form == "dictionary_learning_1":
        trainer = _json(spec, f"{place}/config.json").get("trainer")
        return (
            isinstance(trainer, dict)
            and trainer.get("layer") is None
            and not re.search(r"\d", str(trainer.get("submodule_name")))
        )
    if form == "sparsify":
        return not re.search(r"\.\d+", place)
    if form == "params_safetensors":
        return "hf_hook_point_in" not in _json(spec, f"{place}/config.json")
    return form in ("arrays", "params_npz")


def _json(spec: SAESpec, name: str) -> dict[str, Any]:
    path = file_of(spec, name.removeprefix("/"))
    return read_json(path) if path is not None else {}
