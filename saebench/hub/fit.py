"""Whether an SAE can be one of a model: what its files say of themselves, by their names and headers alone."""

import json
from typing import Any

from saebench.catalogue.hooks import misnamed
from saebench.catalogue.spec import SAESpec
from saebench.catalogue.weights import header, inspect
from saebench.hub.files import file_of, format_of, here, place_of
from saebench.hub.models import TOKENIZERS, layers_of, model_folder, repo_of_model, width_of
from saebench.record.json_files import read_json
from saebench.record.naming import one_sentence, shown_model

FULL_WIDTH = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "hook_embed")
"""Hooks whose activation has the dimensions of the residual stream."""


@one_sentence
def check_files(spec: SAESpec) -> None:
    """Look at the headers of an SAE's weights. Raises ValueError with one sentence if they are not to be trusted."""
    for path in here(spec):
        if path.suffix in (".safetensors", ".npz", ".pt", ".pth"):
            inspect(path)


@one_sentence
def model_of(spec: SAESpec) -> str | None:
    """Language model of an SAE, from its files where its name does not say."""
    if spec.model is not None or spec.loader != "files":
        return spec.model
    place, form = place_of(spec), format_of(spec)
    where = {
        "sae_lens": (f"{place}/cfg.json", "metadata", "model_name"),
        "dictionary_learning_1": (f"{place}/config.json", "trainer", "lm_name"),
        "sparsify": (f"{place.rpartition('/')[0]}/config.json", "", "model"),
        "params_safetensors": (f"{place}/config.json", "", "model_name"),
    }.get(form or "")
    path = where and file_of(spec, where[0].removeprefix("/"))
    if not where or path is None:
        return None
    config = read_json(path)
    inner = config.get(where[1])
    found = (inner if isinstance(inner, dict) else config).get(where[2])
    return str(found) if found else None


@one_sentence
def check_fit(spec: SAESpec, model: str, *, chosen: bool) -> None:
    """Raise ValueError with one sentence where an SAE cannot be one of a model: its layer, width or tokenizer.

    `chosen` is whether the user named the model, so that it may not be the SAE's own.
    """
    layers, width = layers_of(model), width_of(model)
    for hook in filter(None, (spec.hook, spec.hook_out)):
        if told := misnamed(hook):
            raise ValueError(f"{spec.name}: {told}")
        layer = hook.split(".")[1] if hook.startswith("blocks.") else ""
        if layers is not None and layer.isdecimal() and int(layer) >= layers:
            raise ValueError(
                f"{spec.name} reads {hook}, and {shown_model(model)} has {layers} layers, 0 to {layers - 1}"
            )
    d_in = _d_in(spec)
    if width is not None and d_in is not None and str(spec.hook).endswith(FULL_WIDTH) and d_in != width:
        raise ValueError(
            f"{spec.name} reads {d_in} dimensions, and {shown_model(model)} has {width}: it is an SAE of another model"
        )
    if chosen and spec.model is not None and (own := _vocabulary(spec.model)) and own != (_vocabulary(model) or own):
        raise ValueError(
            f"{spec.name} was trained on {shown_model(spec.model)}, whose tokenizer is not that of {shown_model(model)}"
        )


def _d_in(spec: SAESpec) -> int | None:
    """Dimensions that the SAE reads: by its files if they are here and say so."""
    for path in here(spec) if spec.loader == "files" else []:
        shapes = {n: a.shape for n, a in header(path).items()} if path.suffix in (".npz", ".safetensors") else {}
        for name, axis in (("W_enc", 0), ("w_enc", 0), ("encoder.weight", 1)):
            if len(shapes.get(name, ())) == 2:
                return shapes[name][axis]
    told = _config(spec, "trainer").get("activation_dim") if format_of(spec) == "dictionary_learning_1" else None
    return told if isinstance(told, int) else spec.d_in


def _config(spec: SAESpec, table: str) -> dict[str, Any]:
    path = file_of(spec, f"{place_of(spec)}/config.json".removeprefix("/"))
    found = read_json(path).get(table) if path is not None else None
    return found if isinstance(found, dict) else {}


def _vocabulary(model: str) -> Any:
    """Tokens of a model by id, or None where its tokenizer is not here."""
    try:
        repo = repo_of_model(model)
        path = model_folder(model) / TOKENIZERS[0] if repo is None else repo.local(TOKENIZERS[0])
        return path and json.loads(path.read_text(encoding="utf-8")).get("model", {}).get("vocab")
    except (OSError, ValueError, AttributeError):
        return None
