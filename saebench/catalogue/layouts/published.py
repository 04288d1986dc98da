"""Formats of single publications that sae-lens converts: Llama Scope, Kissane's attention SAEs, Qwen Scope and others."""

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import Fields
from saebench.catalogue.layouts.format import Config, Format

LINEAR = {"encoder.weight": "sae in", "decoder.weight": "in sae", "encoder.bias": "sae", "decoder.bias": "in"}
NORMS = Fields(obeyed={"in": int | float, "out": int | float})
OPENMOSS = Fields(
    obeyed={
        "d_model": int, "d_sae": int, "expansion_factor": int | float, "hook_point_in": str, "hook_point_out": str | None,
        "jump_relu_threshold": int | float,
    },
    harmless=(
        "device", "seed", "dtype", "bias_init_method", "decoder_exactly_fixed_norm", "init_decoder_norm",
        "init_encoder_norm", "init_encoder_with_decoder_transpose", "lp", "l1_coefficient", "l1_coefficient_warmup_steps",
        # k was annealed; what was published is a JumpReLU.
        "top_k", "k_warmup_steps", "initial_k", "use_batch_norm_mse", "use_ghost_grads", "tp_size", "ddp_size",
        "sae_pretrained_name_or_path", "strict_loading", "use_triton_kernel", "sparsity_threshold_for_triton_spmm_kernel",
        "sparsity_threshold_for_csr", "jumprelu_threshold_window", "promote_act_fn_dtype",
        "remove_gradient_parallel_to_decoder_directions", "force_unit_decoder_norm", "neuronpedia_id",
        # In the sparsity loss; the decoder's norms were folded before it was published.
        "sparsity_include_decoder_norm",
    ),
    only={
        "act_fn": ("jumprelu",), "norm_activation": ("dataset-wise",), "use_decoder_bias": (True,), "sae_type": ("sae",),
        "apply_decoder_bias_to_pre_encoder": (False,), "use_glu_encoder": (False,),
    },
    tables={"dataset_average_activation_norm": NORMS},
)  # fmt: skip
KISSANE = Fields(
    obeyed={"act_size": int, "dict_size": int, "act_name": str},
    harmless=(
        "seq_len", "dict_mult", "seed", "batch_size", "buffer_mult", "lr", "num_tokens", "l1_coeff", "beta1", "beta2", "enc_dtype", "model_name",
        "site", "layer", "device", "reinit", "head", "resample_scheme", "anthropic_neuron_resample_scale",
        "dead_direction_cutoff", "re_init_every", "anthropic_resample_last", "resample_factor", "num_resamples",
        "wandb_project_name", "wandb_entity", "save_state_dict_every", "b_dec_init", "sched_type", "sched_epochs",
        "sched_lr_factor", "sched_warmup_epochs", "sched_finish", "anthropic_resample_batches", "eval_every",
        "model_batch_size", "buffer_size", "buffer_batches", "name",
    ),
    only={"concat_heads": (True,)},
)  # fmt: skip


def _check(config: Config, arrays: set[str]) -> None:
    """sae-lens reads and writes in one place, at one scale."""
    norms = config.get("dataset_average_activation_norm") or {}
    if norms.get("out", norms.get("in")) != norms.get("in"):
        raise ValueError("dataset_average_activation_norm has different norms for in and out, as a transcoder has")
    if config.get("hook_point_out", config.get("hook_point_in")) != config.get("hook_point_in"):
        raise ValueError(
            "hook_point_in and hook_point_out differ, as a transcoder's do, which is not read in this format"
        )


_OPENMOSS_SIZES = {"d_model": "in", "d_sae": "sae"}
FORMATS = {
    "llama_scope": Format(
        ("{path}/hyperparams.json", "{path}/checkpoints/final.safetensors"), Arrays(LINEAR, {}),
        configs={"{path}/hyperparams.json": OPENMOSS}, sizes=_OPENMOSS_SIZES, check=_check,
    ),
    "llama_scope_r1_distill": Format(
        ("{path}/config.json", "{path}/sae_weights.safetensors"), Arrays({**LINEAR, "log_jumprelu_threshold": "sae"}, {}),
        configs={"{path}/config.json": OPENMOSS}, sizes=_OPENMOSS_SIZES, check=_check,
    ),
    "connor_rob_hook_z": Format(
        ("{path}", "{stem}_cfg.json"), Arrays({"W_enc": "in sae", "W_dec": "sae in", "b_enc": "sae", "b_dec": "in"}, {}),
        configs={"{stem}_cfg.json": KISSANE}, sizes={"act_size": "in", "dict_size": "sae"},
    ),
    "qwen_scope": Format(("{path}",), Arrays({"W_enc": "sae in", "W_dec": "in sae", "b_enc": "sae", "b_dec": "in"}, {})),
    "deepseek_r1": Format(("{path}",), Arrays(LINEAR, {})),
    "goodfire": Format(
        ("{path}",), Arrays({name.replace(".", "_linear."): dimensions for name, dimensions in LINEAR.items()}, {})
    ),
}  # fmt: skip
