"""SAEBench's `core`: how much of activations and of the model's behaviour an SAE keeps, in 26 numbers."""

from collections.abc import Sequence

import numpy as np

from saebench.exchange.saebench_document import Json, Left, Measured, Part
from saebench.record.score import Score

GAP = -1
"""What SAEBench itself writes where it has no number."""
VALUE, COMPLEMENT = "its value", "one minus its value"
SOURCES = {
    "model_behavior_preservation": {
        "kl_div_score": ("kl_recovered", VALUE), "kl_div_with_ablation": ("kl_recovered", "zero_ablation"),
        "kl_div_with_sae": ("kl", VALUE),
    },
    "model_performance_preservation": {
        "ce_loss_score": ("recovered_zero", VALUE), "ce_loss_with_ablation": ("ce", "zero_ablation"),
        "ce_loss_with_sae": ("ce", VALUE), "ce_loss_without_sae": ("ce", "clean"),
    },
    "reconstruction_quality": {
        "explained_variance": ("fvu", COMPLEMENT), "explained_variance_legacy": ("explained_by_token", VALUE),
        "mse": ("mse", VALUE), "cossim": ("token_cosine", VALUE),
    },
    "shrinkage": {
        "l2_norm_in": ("l2_ratio", "norm_in"), "l2_norm_out": ("l2_ratio", "norm_out"), "l2_ratio": ("l2_ratio", VALUE),
        "relative_reconstruction_bias": ("relative_bias", VALUE),
    },
    "sparsity": {"l0": ("l0", VALUE), "l1": ("l1", VALUE)},
    "misc_metrics": {
        "freq_over_1_percent": ("frequent", VALUE), "freq_over_10_percent": ("dense", VALUE),
        "normalized_freq_over_1_percent": ("share_of_frequent", VALUE),
        "normalized_freq_over_10_percent": ("share_of_frequent", "dense"),
        "average_max_encoder_cosine_sim": ("nearest_encoder", "all_latents"),
        "average_max_decoder_cosine_sim": ("nearest_decoder", "all_latents"), "frac_alive": ("dead", COMPLEMENT),
    },
}  # fmt: skip
"""Category to number to the property of `reconstruction` that it is of, and what of it: a control by its name."""
TOKENS = ("total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance")
DEFINITIONS = {
    "explained_variance": "of sums over all tokens; SAEBench 0.6.0 subtracts no mean but the square of a mean of squares",
    "mse": "mean over tokens; SAEBench 0.6.0 divides by the number of tokens of a batch once more",
    "relative_reconstruction_bias": "of sums over all tokens; SAEBench averages over batches",
    "explained_variance_legacy": "around the mean over all tokens; SAEBench's is around that of a batch",
    "l1": "each activation times the norm of its decoder direction, without sign; SAEBench adds activations as they are",
    "average_max_decoder_cosine_sim": "of 1,024 latents at most, each on the side on which it is active",
    "average_max_encoder_cosine_sim": "of 1,024 latents at most, each on the side on which it is active",
}
EDGES = np.arange(-6.0, 0.25, 0.5)
"""Of log10 of the share of tokens on which a latent is active."""


def core(sae: Measured, gaps: bool) -> Part:
    """With `gaps`, -1 stands for each number that is not measured; without them, raise Left for the first of these."""
    names = [name for part in SOURCES.values() for name, _ in part.values()]
    used = [score for name in dict.fromkeys(names) if (score := sae.get(f"reconstruction.{name}")) is not None]
    if not any(score.value is not None for score in used):
        raise Left("has no score that SAEBench has as well")
    tokens = _tokens(sae)
    known = _numbers(sae, tokens)
    missing = [name for part in known.values() for name, value in part.items() if value is None]
    if missing and not gaps:
        raise Left(
            f"lacks {len(missing)} of the numbers that SAEBench's schema demands, {', '.join(missing[:3])}"
            f"{' and others' if len(missing) > 3 else ''}; --gaps writes -1 there, as SAEBench does for a number that it"
            " does not have"
        )
    metrics = {
        part: {name: GAP if value is None else value for name, value in numbers.items()}
        for part, numbers in known.items()
    }
    definitions = {name: said for name, said in DEFINITIONS.items() if name not in missing}
    extra = _density(sae) | ({"persistence": value} if (value := sae.value("reconstruction.persistence")) else {})
    return Part(
        kind="core", config=_config(sae, used[0], tokens), metrics=metrics, scores=used, definitions=definitions,
        beside={"not_measured": missing, **extra},
    )  # fmt: skip


def _numbers(sae: Measured, tokens: Sequence[int]) -> dict[str, dict[str, float | int | None]]:
    found: dict[str, dict[str, float | int | None]] = {
        part: {name: _number(sae, *source) for name, source in numbers.items()} for part, numbers in SOURCES.items()
    }
    return {**found, "token_stats": dict.fromkeys(TOKENS, sum(tokens) if tokens else None)}


def _number(sae: Measured, name: str, what: str) -> float | None:
    score = sae.get(f"reconstruction.{name}")
    if score is None or score.value is None:
        return None
    known: dict[str, float] = {VALUE: score.value, COMPLEMENT: 1 - score.value}
    return known.get(what, score.controls.get(what))


def _tokens(sae: Measured) -> list[int]:
    """(document,) tokens that were scored; empty where the items do not tell."""
    l0 = sae.get("reconstruction.l0")
    counts = sae.store.load_items(l0).get("denominator") if l0 is not None else None
    return [] if counts is None else [round(float(count)) for count in counts]


def _density(sae: Measured) -> Json:
    """How many latents are active how often, as SAEBench draws it from one entry per latent."""
    score = sae.get("reconstruction.frequent")
    if score is None or "density" not in sae.store.load_items(score):
        return {}
    density = sae.store.load_items(score, "density")["density"].astype(np.float64)
    alive = density[density > 0]
    count, _ = np.histogram(np.log10(alive).clip(EDGES[0], EDGES[-1]), EDGES)
    dead = len(density) - len(alive)
    return {"feature_density": {"log10_edges": EDGES.tolist(), "latents": count.tolist(), "dead": dead}}


def _config(sae: Measured, score: Score, tokens: Sequence[int]) -> Json:
    measured = {name for (name, _), found in sae.scores.items() if found.value is not None}
    config: Json = {
        "model_name": score.model, "llm_dtype": score.dtype, "dataset": score.corpus,
        "compute_kl": "reconstruction.kl" in measured, "compute_ce_loss": "reconstruction.recovered_zero" in measured,
        "compute_l2_norms": "reconstruction.l2_ratio" in measured,
        "compute_sparsity_metrics": "reconstruction.l0" in measured,
        "compute_variance_metrics": "reconstruction.fvu" in measured,
        "compute_featurewise_density_statistics": "reconstruction.share_of_frequent" in measured,
        "compute_featurewise_weight_based_metrics": "reconstruction.nearest_decoder" in measured,
        "exclude_special_tokens_from_reconstruction": True,
    }  # fmt: skip
    if score.batch_size and tokens:
        batches = -(-len(tokens) // score.batch_size)
        config |= {"batch_size_prompts": score.batch_size, "context_size": max(tokens) + 1}  # BOS is not scored
        config |= {"n_eval_reconstruction_batches": batches, "n_eval_sparsity_variance_batches": batches}
    return config
