"""Checkpoints of EleutherAI's `sparsify`: `cfg.json` and `sae.safetensors`, and the run's `config.json` above them.

Read here, since sae-lens cannot load what the library writes today.
"""

import re
from typing import Any

from saebench.catalogue.layouts import FORMATS
from saebench.catalogue.layouts.fields import brief
from saebench.catalogue.spec import SAESpec
from saebench.hub.files import file_of, place_of
from saebench.record.json_files import read_json, typed
from saebench.saes.loaders.build import Config, Weights, built, matrix, tensors, whole

PLACES = {
    "": "hook_resid_post", "mlp": "hook_mlp_out", "attn": "hook_attn_out", "attention": "hook_attn_out",
    "self_attn": "hook_attn_out",
}  # fmt: skip
"""transformer-lens's name of what a module of a block returns; the block itself returns the residual stream."""


def read(spec: SAESpec, device: str) -> Any:
    """The checkpoint as an SAE of sae-lens that computes what `SparseCoder.encode` and `decode` do."""
    place = place_of(spec)
    config, run = _json(spec, f"{place}/cfg.json"), _json(spec, FORMATS["sparsify"].all(place)[-1])
    found = tensors(_path(spec, f"{place}/sae.safetensors"))
    weights = {
        "W_enc": matrix(found, "encoder.weight", transposed=True), "W_dec": matrix(found, "W_dec"),
        "b_enc": found.get("encoder.bias"), "b_dec": found.get("b_dec"), "W_skip": found.get("W_skip"),
    }  # fmt: skip
    d_in, d_sae = weights["W_enc"].shape
    _check_width(config, d_in, d_sae)
    k, own = whole("k", config.get("k"), most=d_sae), typed(config, "transcode", bool, "cfg.json") is True
    # Its first transcoders subtracted the bias as SAEs do, and only the run's configuration said what they were.
    transcodes = own or typed(run, "transcode", bool, "config.json") is True
    told = spec.hook is not None and (spec.hook_out is not None or not transcodes)
    metadata = metadata_of(place, run, transcodes, told=told)
    known = {"d_in": d_in, "d_sae": d_sae, "metadata": metadata, "apply_b_dec_to_input": not own}
    if transcodes or weights["W_skip"] is not None:
        sae = built(*_transcoder(known, weights), device)
    else:
        sae = built({**known, "architecture": "topk", "k": k}, weights, device)
    sae.activation_fn = _activation(config, k, d_sae)
    return sae


def _check_width(config: dict[str, Any], d_in: int, d_sae: int) -> None:
    factor = config.get("expansion_factor")
    if not config.get("num_latents") and factor is not None and factor != d_sae / d_in:
        raise ValueError(
            f"cfg.json: expansion_factor is {brief(factor)}, and the SAE has {d_sae} latents of {d_in} dimensions"
        )


def _transcoder(known: Config, weights: Weights) -> tuple[Config, Weights]:
    """As sae-lens has it, which subtracts nothing: what is subtracted goes into the encoder's bias."""
    kind = "transcoder" if weights["W_skip"] is None else "skip_transcoder"
    config = {**known, "architecture": kind, "d_out": weights["W_dec"].shape[1], "apply_b_dec_to_input": False}
    if not known["apply_b_dec_to_input"] or weights["b_enc"] is None or weights["b_dec"] is None:
        return config, weights
    shift = weights["b_dec"].float() @ weights["W_enc"].float()
    return config, {**weights, "b_enc": weights["b_enc"].float() - shift}


def _activation(config: dict[str, Any], k: int, d_sae: int) -> Any:
    """ReLU, then the k largest latents, or the largest of each of k neighbourhoods; or the k farthest from 0, signed."""
    from sae_lens.saes.abstopk_sae import AbsTopK
    from sae_lens.saes.topk_sae import TopK

    name, signed = config.get("activation", "topk"), typed(config, "signed", bool, "cfg.json") is True
    if name == "topk":
        return AbsTopK(k) if signed else TopK(k)
    if name != "groupmax" or d_sae % k or signed:
        how = f"the activation {brief(name)} with k {k} of {d_sae}{' and signed' if signed else ''}"
        raise ValueError(f"cfg.json asks for {how}; known: topk, groupmax, which divides the latents and has no sign")
    return _group_max(k)


def _group_max(k: int) -> Any:
    import torch

    class GroupMax(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            groups = x.relu().view(*x.shape[:-1], k, -1)
            best = groups.max(dim=-1, keepdim=True)
            return torch.zeros_like(groups).scatter(-1, best.indices, best.values).flatten(-2)

    return GroupMax()


def _json(spec: SAESpec, name: str) -> dict[str, Any]:
    path = _path(spec, name)
    return read_json(path) if path is not None else {}


def _path(spec: SAESpec, name: str) -> Any:
    return file_of(spec, name.removeprefix("/"))


def metadata_of(place: str, run: dict[str, Any], transcodes: bool, *, told: bool) -> dict[str, Any]:
    """Model, context and hooks; a family file that says the hook is believed."""
    hook, out = (None, None) if told else _hooks(place, transcodes)
    return {
        "hook_name": hook, "hook_name_out": out, "model_name": run.get("model"), "context_size": run.get("ctx_len"),
        "prepend_bos": False,
    }  # fmt: skip


def _hooks(place: str, transcodes: bool) -> tuple[str | None, str | None]:
    """Where it reads and writes: a folder is called after the module, `layers.3.mlp` or `h.3`."""
    match = re.search(r"(?:layers|h)\.(\d+)(?:\.([\w.]+))?", place)
    if match is None:
        return None, None
    layer, module = match[1], match[2] or ""
    if module not in PLACES or (transcodes and module not in ("mlp", "")):
        raise ValueError(f"what {brief(match[0])} names has no hook here: say its `hook` in a family file")
    hook = f"blocks.{layer}.{PLACES[module]}"
    into = f"blocks.{layer}.{'mlp.hook_in' if module else 'hook_resid_pre'}"
    return (into, hook) if transcodes else (hook, None)
