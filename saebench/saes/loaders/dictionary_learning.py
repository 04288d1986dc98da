"""Checkpoints of `dictionary_learning` (saprmarks), of all its trainers: `config.json` and `ae.pt`.

Read here, since sae-lens cannot load what the April-update trainers write, and takes every hook for a residual stream.
"""

import re
from typing import Any

from saebench.catalogue.layouts.fields import brief
from saebench.catalogue.spec import SAESpec
from saebench.hub.files import file_of, place_of
from saebench.record.json_files import read_json
from saebench.saes.loaders.build import Config, Weights, built, matrix, tensors, whole

THRESHOLDED = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE", "MatroyshkaBatchTopKSAE", "JumpReluAutoEncoder")
MODULES: dict[str, tuple[str, str]] = {
    "mlp": ("mlp.hook_in", "hook_mlp_out"), "att": ("ln1.hook_out", "hook_attn_out"),
    "resid_pre": ("hook_resid_pre", "hook_resid_pre"), "resid_mid": ("hook_resid_mid", "hook_resid_mid"),
    "resid": ("hook_resid_pre", "hook_resid_post"), "layer": ("hook_resid_pre", "hook_resid_post"),
    "block": ("hook_resid_pre", "hook_resid_post"),
}  # fmt: skip
"""What goes into a submodule and what comes out of it, by a part of its name; most are blocks."""


def read(spec: SAESpec, device: str) -> Any:
    """The checkpoint as an SAE of sae-lens that computes what the library's own class does when it is not training."""
    config = read_json(_path(spec, "config.json"))
    trainer = config["trainer"]
    found = tensors(_path(spec, "ae.pt"))
    architecture, weights = _converted(trainer, found)
    d_in, d_sae = weights["W_enc"].shape
    buffer = config.get("buffer") or {}
    told = spec.hook is not None and (spec.hook_out is not None or buffer.get("io") != "in_and_out")
    metadata = metadata_of(trainer, buffer, told=told)
    return built({"d_in": d_in, "d_sae": d_sae, "metadata": metadata, **architecture}, weights, device)


def _path(spec: SAESpec, name: str) -> Any:
    return file_of(spec, f"{place_of(spec)}/{name}".removeprefix("/"))


def _converted(trainer: dict[str, Any], found: Weights) -> tuple[Config, Weights]:
    """sae-lens's architecture and weights, by the class and by the names in the checkpoint."""
    kind = str(trainer["dict_class"])
    own = "W_enc" in found
    weights = {
        "W_enc": matrix(found, "W_enc" if own else "encoder.weight", transposed=not own),
        "W_dec": matrix(found, "W_dec" if own else "decoder.weight", transposed=not own),
        "b_enc": found.get("b_enc", found.get("encoder.bias")),
        "b_dec": next((found[n] for n in ("b_dec", "bias", "decoder_bias", "decoder.bias") if n in found), None),
    }
    if kind == "GatedAutoEncoder":
        gates = {"r_mag": "r_mag", "b_mag": "mag_bias", "b_gate": "gate_bias"}
        return _subtracting("gated"), weights | {name: found.get(key) for name, key in gates.items()}
    if kind == "AutoEncoderTopK":
        return {**_subtracting("topk"), "k": _k(found, trainer)}, weights
    if kind in THRESHOLDED:
        if "threshold" not in found:
            raise ValueError(f"a {kind} without a threshold cannot be evaluated one token at a time")
        weights["threshold"] = found["threshold"].expand(weights["W_enc"].shape[1]).clone()
        return {**_subtracting("jumprelu"), "apply_b_dec_to_input": kind != "JumpReluAutoEncoder"}, weights
    # AutoEncoderNew subtracts nothing. Its trainer calls it AutoEncoder, but its bias has another name.
    return {**_subtracting("standard"), "apply_b_dec_to_input": "decoder.bias" not in found}, weights


def _subtracting(architecture: str) -> Config:
    return {"architecture": architecture, "apply_b_dec_to_input": True}


def _k(found: Weights, trainer: dict[str, Any]) -> int:
    """Its first versions wrote it into the configuration alone."""
    k = whole("k", found.get("k", trainer.get("k")))
    if trainer.get("k", k) != k:
        raise ValueError(f"k is {k} in ae.pt, and {brief(trainer['k'])} in config.json")
    return k


def metadata_of(trainer: dict[str, Any], buffer: dict[str, Any], *, told: bool) -> dict[str, Any]:
    """Hooks, model and context, as far as the trainer says; a family file that says the hook is believed."""
    hook, out = (None, None) if told or trainer.get("layer") is None else _hooks(trainer, buffer.get("io", "out"))
    return {
        "hook_name": hook, "hook_name_out": out, "model_name": trainer.get("lm_name"),
        "context_size": buffer.get("ctx_len"), "prepend_bos": True,
    }  # fmt: skip


def _hooks(trainer: dict[str, Any], io: Any) -> tuple[str, str | None]:
    """Where it reads and, for a transcoder, writes: the buffer kept what goes into a submodule, comes out of it, or both."""
    if io not in ("in", "out", "in_and_out"):
        raise ValueError(f"config.json: io of the buffer is {brief(io)}; known: in, out, in_and_out")
    layer, place = whole("layer", trainer["layer"]), str(trainer.get("submodule_name") or "layer")
    module = next((known for part, known in MODULES.items() if re.search(part, place)), None)
    if module is None:
        raise ValueError(
            f"config.json: submodule_name is {brief(place)}, unknown here: say its `hook` in a family file"
        )
    into, out_of = (f"blocks.{layer}.{name}" for name in module)
    return (into if io != "out" else out_of), (out_of if io == "in_and_out" else None)
