"""sae-lens's `cfg.json` and `sae_weights.safetensors`: of version 6, and of the versions before it.

Version 6 has a table `metadata`; before, the file was the whole configuration of the run that trained the SAE, of which
sae-lens obeys what is listed here. `tests/catalogue/test_layouts.py` compares this with sae-lens's own classes.
"""

from typing import Any

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import Fields, Kind
from saebench.catalogue.layouts.format import Config, Format, Read

FIRST = "6.0.0"
"""The first version with `metadata`, by whose rules it is read."""
BASE: dict[str, Kind] = {
    "architecture": str | None, "d_in": int, "d_sae": int, "apply_b_dec_to_input": bool,
    "normalize_activations": str | bool | None,
}  # fmt: skip
PLACE = ("device", "dtype", "sae_lens_version", "sae_lens_training_version")
"""Where and in which precision it was saved: it runs in float32, on the device that was asked for."""
SHAPED: dict[str, tuple[str | None, ...]] = {"reshape_activations": ("none", "hook_z", None)}
"""Attention's heads are read side by side in either case."""
TOPK: dict[str, Kind] = {"k": int, "rescale_acts_by_decoder_norm": bool}
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
ARCHITECTURES: dict[str, dict[str, Kind]] = {
    "standard": {}, "gated": {}, "jumprelu": {}, "topk": TOPK, "abstopk": TOPK,
    "matching_pursuit": {"residual_threshold": int | float, "max_iterations": int | None, "stop_on_duplicate_support": bool},
    **{name: {"d_out": int} for name in TRANSCODERS},
}  # fmt: skip
"""What each obeys beside the base."""
SPARSE = ("use_sparse_activations", "aux_loss_coefficient", "decoder_init_norm")
TRAINING: dict[str, tuple[str, ...]] = {
    "standard": ("decoder_init_norm", "l1_coefficient", "lp_norm", "l1_warm_up_steps"),
    "gated": ("decoder_init_norm", "l1_coefficient", "l1_warm_up_steps"),
    "topk": SPARSE, "abstopk": SPARSE, "matching_pursuit": ("decoder_init_norm",),
    "jumprelu": (
        "decoder_init_norm", "jumprelu_init_threshold", "jumprelu_bandwidth", "jumprelu_sparsity_loss_mode", "l0_coefficient",
        "l0_warm_up_steps", "pre_act_loss_coefficient", "jumprelu_tanh_scale", "jumprelu_ste_to_input", "target_l0",
    ),
}  # fmt: skip
"""What the training class of the same name writes as well, into a checkpoint."""
UNFINISHED = ("batchtopk", "matryoshka_batchtopk")
"""Training classes whose inference is a JumpReLU."""
UNSUPPORTED = {
    **dict.fromkeys(UNFINISHED, "is what it was trained as: save it with save_inference_model, as a jumprelu"),
    "temporal": "reads whole contexts, and cannot be told about one token at a time",
}
MODEL = Fields(
    obeyed={"center_writing_weights": bool},
    # None of these moves what is read in the residual stream, in an MLP or behind attention.
    harmless=("center_unembed", "fold_ln", "n_ctx", "dtype", "torch_dtype", "device", "n_devices", "move_to_device", "trust_remote_code"),
    only={"fold_value_biases": (False,), "first_n_layers": (None,)},
)  # fmt: skip
"""How transformer-lens was to load the model."""
METADATA = Fields(
    obeyed={
        "model_name": str | None, "hook_name": str | None, "hook_name_out": str | None, "context_size": int | None,
        "prepend_bos": bool | None, "hf_hook_name": str | None,
    },
    harmless=(
        *PLACE, "hf_hook_name_out", "model_class_name", "dataset_path", "dataset_trust_remote_code", "neuronpedia_id",
        "exclude_special_tokens", "seqpos_slice", "training_architecture", "training_architecture_details",
    ),
    # Of attention's heads all are read, side by side.
    only={"hook_head_index": (None,), "hook_head_index_out": (None,)},
    tables={"model_from_pretrained_kwargs": MODEL},
    free=True,
)  # fmt: skip
BEFORE_6 = Fields(
    obeyed={**METADATA.obeyed, "hook_point": str},
    harmless=(
        *METADATA.harmless, "hook_layer", "hook_point_layer", "hook_eval", "hook_point_eval", "streaming",
        "is_dataset_tokenized", "use_chat_formatting", "use_cached_activations", "cached_activations_path",
        "from_pretrained_path", "b_dec_init_method", "expansion_factor", "normalize_sae_decoder", "noise_scale",
        "decoder_orthogonal_init", "decoder_heuristic_init", "decoder_heuristic_init_norm", "decoder_init_norm",
        "init_encoder_as_decoder_transpose", "n_batches_in_buffer", "training_tokens", "finetuning_tokens",
        "finetuning_method", "store_batch_size", "store_batch_size_prompts", "train_batch_size", "train_batch_size_tokens",
        "disable_concat_sequences", "sequence_separator_token", "activations_mixing_fraction", "llm_device",
        "act_store_device", "prefetch_llm_batches", "seed", "autocast", "autocast_lm", "compile_llm",
        "llm_compilation_mode", "compile_sae", "sae_compilation_mode", "adam_beta1", "adam_beta2",
        "mse_loss_normalization", "l1_coefficient", "lp_norm", "scale_sparsity_penalty_by_decoder_norm",
        "l1_warm_up_steps", "lr", "lr_scheduler_name", "lr_warm_up_steps", "lr_end", "lr_decay_steps", "n_restart_cycles",
        "use_ghost_grads", "feature_sampling_window", "dead_feature_window", "dead_feature_threshold",
        "dead_feature_estimation_method", "feature_reinit_scale", "n_eval_batches", "eval_batch_size_prompts", "logger",
        "log_to_wandb", "log_activations_store_to_wandb", "log_optimizer_state_to_wandb", "wandb_project", "wandb_id",
        "run_name", "wandb_entity", "wandb_log_frequency", "eval_every_n_wandb_logs", "resume", "resume_from_checkpoint",
        "n_checkpoints", "checkpoint_path", "save_final_checkpoint", "output_path", "verbose", "model_kwargs",
        "tokens_per_buffer", "n_batches_for_norm_estimate", "sae", "jumprelu_init_threshold", "jumprelu_bandwidth",
    ),
    only={
        **METADATA.only, **SHAPED, "hook_point_head_index": (None,), "finetuning_scaling_factor": (False, None),
        "activation_fn": ("relu", "topk"), "activation_fn_str": ("relu", "topk"),
    },
    tables={**METADATA.tables, "activation_fn_kwargs": Fields(obeyed={"k": int})},
)  # fmt: skip


def fields_of(config: Config) -> Fields:
    """Known fields by the architecture and the version; raises ValueError for an architecture that is not evaluated."""
    architecture = architecture_of(config)
    own = {**BASE, **ARCHITECTURES[architecture]}
    if "metadata" not in config:
        return Fields({**BEFORE_6.obeyed, **own}, BEFORE_6.harmless, BEFORE_6.only, BEFORE_6.tables)
    return Fields(own, (*PLACE, *TRAINING.get(architecture, ())), SHAPED, {"metadata": METADATA})


def architecture_of(config: Config) -> str:
    """Before version 6 `topk` was an activation function of the standard architecture."""
    old = config.get("activation_fn", config.get("activation_fn_str")) if "metadata" not in config else None
    if old == "topk" and not isinstance(kwargs := config.get("activation_fn_kwargs"), dict | None):
        raise ValueError(f"activation_fn_kwargs is {kwargs!r:.60}, and should be a table with k")
    said = config.get("architecture")
    found = "topk" if old == "topk" else "standard" if said is None else str(said)
    if found in UNSUPPORTED:
        raise ValueError(f"the architecture {found} {UNSUPPORTED[found]}")
    if found not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {found!r:.60}. Known: {', '.join(ARCHITECTURES)}")
    return found


def current(config: Config) -> dict[str, Any]:
    """A configuration of version 6, complete; an older one as it is, since sae-lens knows how to read it."""
    if "metadata" not in config:
        return dict(config)
    metadata = {**(config["metadata"] or {}), "sae_lens_version": FIRST}
    return {
        **config, "architecture": architecture_of(config), "metadata": metadata,
        "normalize_activations": config.get("normalize_activations") or "none",
    }  # fmt: skip


def _arrays(config: Config) -> Arrays:
    architecture = architecture_of(config)
    if architecture == "matching_pursuit":  # its encoder is its decoder
        return Arrays({"W_dec": "sae in", "b_dec": "in"}, {})
    out = "out" if "transcoder" in architecture else "in"
    shapes = {"W_enc": "in sae", "W_dec": f"sae {out}", "b_dec": out}
    gated = architecture == "gated"
    shapes |= dict.fromkeys(("b_gate", "b_mag", "r_mag"), "sae") if gated else {"b_enc": "sae"}
    shapes |= {"threshold": "sae", "log_threshold": "sae"} if "jumprelu" in architecture else {}
    shapes |= {"W_skip": "out in"} if "skip" in architecture else {}
    # Versions before 3 wrote it, all ones, beside weights that were never scaled.
    return Arrays(shapes, {"scaling_factor": "sae"}, [("threshold", "log_threshold")])


def _check(config: Config, arrays: set[str]) -> None:
    if "metadata" not in config and architecture_of(config) == "topk":
        k = (config.get("activation_fn_kwargs") or {}).get("k", config.get("k"))
        if k is None:
            raise ValueError("the activation function is topk, and there is no k in activation_fn_kwargs")
        if config.get("k", k) != k:
            raise ValueError(f"k is {config['k']!r:.60}, and {k!r:.60} in activation_fn_kwargs")


def _unsaid(place: str, read: Read) -> bool:
    config = read("{path}/cfg.json")
    inner = config.get("metadata")
    told = {**config, **(inner if isinstance(inner, dict) else {})}
    return bool(config) and not any(told.get(key) for key in ("hook_name", "hook_point"))


FORMATS = {
    "sae_lens": Format(
        ("{path}/cfg.json", "{path}/sae_weights.safetensors"), _arrays, configs={"{path}/cfg.json": fields_of},
        sizes={"d_in": "in", "d_sae": "sae", "d_out": "out"}, check=_check, tried=1, unsaid=_unsaid,
    ),
}  # fmt: skip
