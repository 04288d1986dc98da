"""Checkpoints of `dictionary_learning` (saprmarks), of all its trainers: `config.json` and `ae.pt`.

Read here, since sae-lens cannot load what the April-update trainers write, and takes every hook for a residual stream.
"""

from typing import Any

from saebench.files import file_of, place_of
from saebench.folders import read_json
from saebench.loaders.build import Config, Weights, built, matrix, tensors, whole
from saebench.spec import SAESpec

HOOKS = {"mlp": "hook_mlp_out", "attn": "hook_attn_out", "attention": "hook_attn_out"}
"""By a part of the submodule's name; all others are blocks, whose output is the residual stream."""
THRESHOLDED = ("BatchTopKSAE", "MatryoshkaBatchTopKSAE", "MatroyshkaBatchTopKSAE", "JumpReluAutoEncoder")
"""Before version 0.1 one name was misspelt."""
PLAIN = ("AutoEncoder", "AutoEncoderNew")


def read(spec: SAESpec, device: str) -> Any:
    """The checkpoint as an SAE of sae-lens that computes what the library's own class does when it is not training."""
    config = read_json(_path(spec, "config.json"))
    trainer = config.get("trainer")
    if not isinstance(trainer, dict) or "dict_class" not in trainer:
        raise ValueError("config.json has no table 'trainer' with a dict_class")
    found = tensors(_path(spec, "ae.pt"))
    architecture, weights = _converted(trainer, found)
    d_in, d_sae = weights["W_enc"].shape
    metadata = _metadata(trainer, config.get("buffer"))
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
        return {**_subtracting("topk"), "k": whole("k", found.get("k", trainer.get("k")))}, weights
    if kind in THRESHOLDED:
        if "threshold" not in found:
            raise ValueError(f"a {kind} without a threshold cannot be evaluated one token at a time")
        d_sae = weights["W_enc"].shape[1]
        if found["threshold"].shape not in ((), (d_sae,)):
            raise ValueError(f"threshold has shape {tuple(found['threshold'].shape)}, and W_enc {d_sae} latents")
        weights["threshold"] = found["threshold"].expand(d_sae).clone()
        return {**_subtracting("jumprelu"), "apply_b_dec_to_input": kind != "JumpReluAutoEncoder"}, weights
    if kind not in PLAIN:
        known = ", ".join(["GatedAutoEncoder", "AutoEncoderTopK", *THRESHOLDED, *PLAIN])
        raise ValueError(f"config.json names a dict_class {kind!r:.80}. Known: {known}")
    # AutoEncoderNew subtracts nothing. Its trainer calls it AutoEncoder, but its bias has another name.
    return {**_subtracting("standard"), "apply_b_dec_to_input": "decoder.bias" not in found}, weights


def _subtracting(architecture: str) -> Config:
    return {"architecture": architecture, "apply_b_dec_to_input": True}


def _metadata(trainer: dict[str, Any], buffer: Any) -> dict[str, Any]:
    """Hook, model and context, as far as the trainer says."""
    place = str(trainer.get("submodule_name") or "")
    hook = next((name for part, name in HOOKS.items() if part in place), "hook_resid_post")
    layer = None if trainer.get("layer") is None else whole("layer", trainer["layer"])
    return {
        "hook_name": None if layer is None else f"blocks.{layer}.{hook}", "model_name": trainer.get("lm_name"),
        "context_size": buffer.get("ctx_len") if isinstance(buffer, dict) else None, "prepend_bos": True,
    }  # fmt: skip
