"""A plain file of arrays: `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_out), `b_enc`, `b_dec`, and what its activation is.

That is a JumpReLU where there is a `threshold` or, as it is trained, a `log_threshold`; the largest `k`; or else a ReLU.
A `W_skip` (d_out, d_in), as sae-lens and sparsify call it, makes a transcoder with a skip connection.

Also Gemma Scope's `params.npz` and Gemma Scope 2's `params.safetensors`, whose names begin with a small letter, and
whose `affine_skip_connection` is (d_in, d_out); and Hanna's transcoders of Qwen 3,
whose W_enc is (d_sae, d_in), and whose training context sae-lens takes from the size of a batch.
"""

import re
from typing import Any

from saebench.catalogue.layouts.format import SUFFIXES
from saebench.catalogue.spec import SAESpec
from saebench.hub.files import file_of, here, place_of
from saebench.hub.hub import one_line
from saebench.record.json_files import read_json, typed
from saebench.saes.loaders.build import built, matrix, tensors, whole

HANNA = "mwhanna_transcoder"
"""Layers in one repository, whose hooks are told by names of files."""


def read(spec: SAESpec, device: str) -> Any:
    """The arrays as an SAE of sae-lens; nothing is subtracted first."""
    path = next(path for path in here(spec) if path.suffix in SUFFIXES)
    arrays = {_name(name): value for name, value in tensors(path).items()}
    if spec.format == HANNA:
        arrays["W_enc"] = matrix(arrays, "W_enc", transposed=True)
    if "affine_skip_connection" in arrays:
        arrays["W_skip"] = matrix(arrays, "affine_skip_connection", transposed=True)
    if "log_threshold" in arrays:
        arrays["threshold"] = arrays["log_threshold"].float().exp()
    config = _config(spec, arrays)
    sae = built(config, arrays, device)
    return with_k(sae, arrays) if "k" in arrays else sae


def with_k(sae: Any, arrays: dict[str, Any]) -> Any:
    """Let the k largest latents pass, also in a transcoder, of which sae-lens has none with a k."""
    from sae_lens.saes.topk_sae import TopK

    sae.activation_fn = TopK(whole("k", arrays["k"], most=sae.cfg.d_sae))
    return sae


def _name(name: str) -> str:
    return f"W_{name[2:]}" if name.startswith("w_") else name


def _config(spec: SAESpec, arrays: dict[str, Any]) -> dict[str, Any]:
    """sae-lens's configuration: a transcoder where its maker, or a skip connection, says so."""
    told = _told(spec)
    (d_in, d_sae), d_out = matrix(arrays, "W_enc").shape, matrix(arrays, "W_dec").shape[1]
    metadata = {"hook_name": spec.hook, "hook_name_out": spec.hook_out, **told}
    config = {"d_in": d_in, "d_sae": d_sae, "apply_b_dec_to_input": False, "metadata": metadata}
    transcodes = "W_skip" in arrays or metadata.get("hook_name_out") is not None
    if not transcodes and d_out != d_in:
        raise ValueError(f"W_enc reads {d_in} dimensions and W_dec writes {d_out}: a transcoder needs a `hook_out`")
    if not transcodes and "k" in arrays:
        return {**config, "architecture": "topk", "k": whole("k", arrays["k"], most=d_sae)}
    if not transcodes:
        return {**config, "architecture": "jumprelu" if "threshold" in arrays else "standard"}
    skip = "skip_" if "W_skip" in arrays else ""
    jump = "jumprelu_" if "threshold" in arrays else ""
    return {**config, "architecture": f"{jump}{skip}transcoder", "d_out": d_out}


def _told(spec: SAESpec) -> dict[str, Any]:
    """Model and hooks, which Gemma Scope 2 has beside its arrays in names of transformers' modules."""
    if spec.format == HANNA and (layer := re.search(r"layer_(\d+)", spec.location)):
        return {"hook_name": f"blocks.{layer[1]}.mlp.hook_in", "hook_name_out": f"blocks.{layer[1]}.hook_mlp_out"}
    path = file_of(spec, f"{place_of(spec)}/config.json")
    config = read_json(path) if path is not None and "hf_hook_point_in" in read_json(path) else {}
    hooks = {"hook_name": config.get("hf_hook_point_in"), "hook_name_out": config.get("hf_hook_point_out")}
    found = {key: _hook(name) for key, name in hooks.items() if name}
    return {
        **found,
        **({"model_name": typed(config, "model_name", str, "config.json")} if "model_name" in config else {}),
    }


def _hook(name: str) -> str:
    """transformer-lens's name of where a module of transformers reads or writes."""
    parts = {
        "output": "hook_resid_post", "self_attn.o_proj.input": "attn.hook_z",
        "pre_feedforward_layernorm.output": "ln2.hook_out", "post_feedforward_layernorm.output": "hook_mlp_out",
    }  # fmt: skip
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", str(name))
    if match is None or match[2] not in parts:
        raise ValueError(f"config.json names a hook {one_line(name)!r}, for which there is no name here")
    return f"blocks.{match[1]}.{parts[match[2]]}"
