"""Checkpoints of EleutherAI's `sparsify`: `cfg.json` and `sae.safetensors`, and the run's `config.json` above them.

Read here, since sae-lens cannot load what the library writes today.
"""

import re
from typing import Any

from saebench.files import file_of, place_of
from saebench.folders import read_json
from saebench.formats import FORMATS
from saebench.loaders.build import built, matrix, tensors, whole
from saebench.spec import SAESpec

PLACES = {"mlp": "hook_mlp_out", "attn": "hook_attn_out", "attention": "hook_attn_out", "self_attn": "hook_attn_out"}
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
    k, transcodes = whole("k", config.get("k")), bool(config.get("transcode"))
    d_in, d_sae = weights["W_enc"].shape
    if not 0 < k <= d_sae:
        raise ValueError(f"cfg.json says k is {config.get('k')!r}, and the SAE has {d_sae} latents")
    known = {"d_in": d_in, "d_sae": d_sae, "metadata": _metadata(place, run, transcodes), "apply_b_dec_to_input": False}
    if transcodes or weights["W_skip"] is not None:
        kind = "transcoder" if weights["W_skip"] is None else "skip_transcoder"
        sae = built({**known, "architecture": kind, "d_out": weights["W_dec"].shape[1]}, weights, device)
    else:
        sae = built({**known, "architecture": "topk", "k": k, "apply_b_dec_to_input": True}, weights, device)
    sae.activation_fn = _activation(str(config.get("activation", "topk")), k, d_sae)
    return sae


def _activation(name: str, k: int, d_sae: int) -> Any:
    """ReLU, then the k largest latents, or the largest of each of k neighbourhoods."""
    from sae_lens.saes.topk_sae import TopK

    if name == "topk":
        return TopK(k)
    if name != "groupmax" or d_sae % k:
        raise ValueError(f"cfg.json asks for the activation {name!r} with k {k} of {d_sae}; known: topk, groupmax")
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


def _metadata(place: str, run: dict[str, Any], transcodes: bool) -> dict[str, Any]:
    """Model, context and hooks: a folder is called after the module, `layers.3.mlp` or `h.3`."""
    match = re.search(r"(?:layers|h)\.(\d+)(?:\.(\w+))?", place)
    hook, out = None, None
    if match is not None:
        hook = f"blocks.{match[1]}.{PLACES.get(match[2] or '', 'hook_resid_post')}"
        if transcodes and match[2] == "mlp":
            hook, out = f"blocks.{match[1]}.mlp.hook_in", hook
    return {
        "hook_name": hook, "hook_name_out": out, "model_name": run.get("model"), "context_size": run.get("ctx_len"),
        "prepend_bos": False,
    }  # fmt: skip
