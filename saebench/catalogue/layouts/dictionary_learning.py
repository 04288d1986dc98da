"""`dictionary_learning` (saprmarks): what its trainers write into `config.json`, and its classes into `ae.pt`."""

import re

from saebench.catalogue.layouts.arrays import Arrays
from saebench.catalogue.layouts.fields import FACT, Fields
from saebench.catalogue.layouts.format import Config, Format, Read

TRAINER = Fields(
    obeyed={
        "dict_class": str, "activation_dim": int, "dict_size": int, "k": int, "layer": int | None, "lm_name": FACT,
        "submodule_name": str | None,
    },
    harmless=(
        "trainer_class", "lr", "steps", "seed", "device", "wandb_name", "warmup_steps", "decay_start", "auxk_alpha",
        "top_k_aux", "threshold_beta", "threshold_start_step", "bandwidth", "target_l0", "l1_penalty", "sparsity_penalty",
        "sparsity_warmup_steps", "sparsity_function", "sparsity_queue_length", "n_sparsity_updates", "p_start", "p_end",
        "anneal_start", "anneal_end", "resample_steps", "dead_feature_threshold", "k_anneal_steps", "log_steps",
        # How a Matryoshka SAE's loss weighs its nested parts; all of them are decoded.
        "group_fractions", "group_weights", "group_sizes",
    ),
)  # fmt: skip
BUFFER = Fields(
    obeyed={"io": str, "ctx_len": FACT, "d_submodule": int | None},
    harmless=(
        "n_ctxs", "refresh_batch_size", "out_batch_size", "device", "remove_bos", "add_special_tokens", "dtype",
        # Which tokens were trained on.
        "max_activation_norm_multiple",
    ),
)  # fmt: skip
CONFIG = Fields(tables={"trainer": TRAINER, "buffer": BUFFER})
LINEAR = {"encoder.weight": "sae in", "encoder.bias": "sae", "decoder.weight": "in sae"}
OWN = {"W_enc": "in sae", "W_dec": "sae in", "b_enc": "sae", "b_dec": "in"}
GATES = {"r_mag": "sae", "mag_bias": "sae", "gate_bias": "sae"}
NESTED = Arrays(
    {**OWN, **LINEAR, "threshold": "sae|"}, {"k": "", "group_sizes": "groups"}, [("W_enc", "encoder.weight")]
)
CLASSES: dict[str, Arrays] = {
    # StandardTrainerAprilUpdate calls AutoEncoderNew by this name too; only its bias is called otherwise.
    "AutoEncoder": Arrays({**LINEAR, "bias": "in", "decoder.bias": "in"}, {}, [("bias", "decoder.bias")]),
    "AutoEncoderNew": Arrays({**LINEAR, "decoder.bias": "in"}, {}),
    "GatedAutoEncoder": Arrays(
        {"encoder.weight": "sae in", "decoder.weight": "in sae", "decoder_bias": "in", **GATES}, {}
    ),
    # Kept in training for those who want it; `encode` takes the k largest.
    "AutoEncoderTopK": Arrays({**LINEAR, "b_dec": "in", "k": ""}, {"threshold": ""}),
    "BatchTopKSAE": Arrays({**LINEAR, "b_dec": "in", "threshold": "sae|"}, {"k": ""}),
    "MatryoshkaBatchTopKSAE": NESTED,
    "MatroyshkaBatchTopKSAE": NESTED,
    "JumpReluAutoEncoder": Arrays({**OWN, "threshold": "sae|"}, {}),
}
"""By `dict_class`; before version 0.1 one name was misspelt."""


def _arrays(config: Config) -> Arrays:
    trainer = config.get("trainer")
    if not isinstance(trainer, dict) or "dict_class" not in trainer:
        raise ValueError("it has no table 'trainer' with a dict_class")
    kind = str(trainer["dict_class"])
    if kind not in CLASSES:
        raise ValueError(f"it names a dict_class {kind!r:.80}. Known: {', '.join(CLASSES)}")
    return CLASSES[kind]


def _unsaid(place: str, read: Read) -> bool:
    trainer = read("{path}/config.json").get("trainer")
    if not isinstance(trainer, dict) or trainer.get("layer") is not None:
        return False
    return not re.search(r"\d", str(trainer.get("submodule_name")))


FORMATS = {
    "dictionary_learning_1": Format(
        ("{path}/ae.pt", "{path}/config.json"), _arrays, configs={"{path}/config.json": CONFIG},
        sizes={"trainer.activation_dim": "in", "trainer.dict_size": "sae", "buffer.d_submodule": "in"},
        reader="dictionary_learning", tried=3, unsaid=_unsaid,
    ),
}  # fmt: skip
