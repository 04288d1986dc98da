"""EleutherAI's `sparsify`: `cfg.json`, `sae.safetensors`, and the run's `config.json`, from its first version to today's."""

import re

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import FACT, Fields
from saebench.catalogue.layouts.format import Config, Format, Read

CODER = Fields(
    obeyed={
        "k": int, "d_in": int, "num_latents": int | None, "expansion_factor": int | float, "activation": str,
        "transcode": bool | None, "skip_connection": bool | None, "signed": bool | None,
    },
    harmless=(
        "normalize_decoder",  # after each step of training
        "multi_topk",  # a second loss
        "lookup_max_order", "gram_table_hash",  # of gram_lookup
    ),
    # They add what is known of the token or its neighbours, which only the model's own pass can tell.
    only={"embed_skip": (False, None), "gram_lookup": (False, None)},
)  # fmt: skip
RUN = Fields(
    obeyed={"model": FACT, "ctx_len": FACT, "transcode": bool | None, "sae": dict},
    harmless=(
        "batch_size", "grad_acc_steps", "micro_acc_steps", "loss_fn", "optimizer", "lr", "lr_warmup_steps", "lr_scheduler",
        "weight_decay", "k_decay_steps", "auxk_alpha", "dead_feature_threshold", "exclude_tokens", "hookpoints", "init_seeds",
        "layers", "layer_stride", "distribute_modules", "save_every", "save_best", "finetune", "log_to_wandb", "run_name",
        "wandb_log_frequency", "save_dir", "dataset", "split", "hf_token", "load_in_8bit", "max_examples", "resume",
        "text_column", "shuffle_seed", "data_preprocessing_num_proc", "data_args", "seed", "adam_8bit", "streaming",
        "gram_table_path", "wandb_project", "feature_sampling_window", "normalize_decoder", "num_workers",
    ),
    # Another revision has other weights.
    only={"revision": (None, "main")},
)  # fmt: skip
ARRAYS = Arrays(
    {"encoder.weight": "sae in", "encoder.bias": "sae", "W_dec": "sae in", "b_dec": "in", "W_skip": "in in"}, {}
)


def _run(config: Config) -> Fields:
    """A `config.json` above the SAE's folder is the run's where it has the table `sae`; else it may be anybody's."""
    return RUN if "sae" in config else Fields(free=True)


def _check(config: Config, arrays: set[str]) -> None:
    if bool(config.get("skip_connection")) != ("W_skip" in arrays):
        has = "has" if "W_skip" in arrays else "has no"
        raise ValueError(f"skip_connection is {config.get('skip_connection')!r:.60}, and sae.safetensors {has} W_skip")


def _unsaid(place: str, read: Read) -> bool:
    return not re.search(r"\.\d+", place)


FORMATS = {
    "sparsify": Format(
        ("{path}/sae.safetensors", "{path}/cfg.json"), ARRAYS, ("{parent}/config.json",),
        {"{path}/cfg.json": CODER, "{parent}/config.json": _run}, {"d_in": "in", "num_latents": "sae"}, _check,
        reader="sparsify", tried=2, unsaid=_unsaid,
    ),
}  # fmt: skip
