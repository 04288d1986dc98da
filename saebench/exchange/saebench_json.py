"""Scores as the JSON that SAEBench publishes, for what both measure (schema of sae-bench 0.6.0).

Numbers stand under a name of SAEBench's only if they are what that name says: our cosine and shrinkage are centred and
pooled, its are not, and our KL of an ablated model replaces activations by their mean, its by zero.
"""

import datetime
import re
import statistics
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from saebench.catalogue.registry import resolve
from saebench.exchange.verification import published_scores
from saebench.record.score import Score
from saebench.record.store import Store
from saebench.record.version import __version__

Json = dict[str, Any]
LONGEST = 200
"""Characters of an SAE's name in that of a file."""
GAP = -1
"""What SAEBench itself writes where it has no number."""
CORE = {
    "model_behavior_preservation": ("kl_div_score", "kl_div_with_ablation", "kl_div_with_sae"),
    "model_performance_preservation": (
        "ce_loss_score", "ce_loss_with_ablation", "ce_loss_with_sae", "ce_loss_without_sae",
    ),
    "reconstruction_quality": ("explained_variance", "explained_variance_legacy", "mse", "cossim"),
    "shrinkage": ("l2_norm_in", "l2_norm_out", "l2_ratio", "relative_reconstruction_bias"),
    "sparsity": ("l0", "l1"),
    "token_stats": ("total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"),
    "misc_metrics": (
        "freq_over_1_percent", "freq_over_10_percent", "normalized_freq_over_1_percent",
        "normalized_freq_over_10_percent", "average_max_encoder_cosine_sim", "average_max_decoder_cosine_sim",
        "frac_alive",
    ),
}  # fmt: skip
"""Categories of its `core` and the numbers that each must have."""
SAME_MEASURE = {
    "kl_div_with_sae": "reconstruction.kl", "ce_loss_score": "reconstruction.recovered_zero",
    "l0": "reconstruction.l0", "freq_over_10_percent": "reconstruction.dense",
}  # fmt: skip
COMPLEMENT = {"explained_variance": "reconstruction.fvu", "frac_alive": "reconstruction.dead"}
"""One minus the property."""
ABSORPTION = {
    "absorption_fraction_score": "absorption.fraction_0_6_0", "full_absorption_score": "absorption.full_rate_0_6_0",
    "num_split_features": "first_letter.split_count",
}  # fmt: skip
BESIDE = ("absorption.fraction_0_3_2",)
"""Not in the schema, and what its published results of January 2025 call the fraction."""


class Left(Exception):
    """Why SAEBench's schema has no place for an SAE's scores."""


@dataclass(frozen=True)
class Exported:
    """Documents by path below the target, and the SAEs that an eval has none of, by the reason."""

    documents: dict[str, Json] = field(default_factory=dict)
    left_out: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def export(store: Store, *, gaps: bool = False) -> Exported:
    """Make one document per eval and SAE; with `gaps`, -1 stands for each number of `core` that is not measured.

    Controls are left out. Raises ValueError if items are missing or damaged, or two SAEs would have one path.
    """
    found = Exported()
    for sae, scores in _by_sae(published_scores(store)).items():
        for name, make in (("core", _core), ("absorption", _absorption)):
            try:
                document = make(store, scores, gaps)
            except Left as reason:
                found.left_out.setdefault((name, str(reason)), []).append(sae)
                continue
            path = f"{name}/{_file_name(document, sae)}"
            if path in found.documents:
                raise ValueError(f"two SAEs would write {path}, one of them {sae}: export them from files of their own")
            found.documents[path] = document
    return found


def _by_sae(scores: Sequence[Score]) -> dict[str, dict[str, Score]]:
    """SAE, with its model where there are several, to property to score; the newest where texts or words differ."""
    several = len({score.model for score in scores}) > 1
    found: dict[str, dict[str, Score]] = {}
    for score in sorted(scores, key=lambda score: score.created):
        if not score.control:
            name = f"{score.sae} on {score.model}" if several else score.sae
            found.setdefault(name, {})[score.property] = score
    return found


def _core(store: Store, scores: Mapping[str, Score], gaps: bool) -> Json:
    used = [scores[name] for name in (*SAME_MEASURE.values(), *COMPLEMENT.values()) if name in scores]
    if not any(score.value is not None for score in used):
        raise Left("has no score that SAEBench has as well")
    tokens = _tokens(store, scores.get("reconstruction.l0"))
    known = _core_numbers(scores) | ({name: sum(tokens) for name in CORE["token_stats"]} if tokens else {})
    missing = [name for names in CORE.values() for name in names if name not in known]
    if missing and not gaps:
        raise Left(
            f"lacks {len(missing)} numbers that SAEBench's schema demands, {', '.join(missing[:3])} and others;"
            " --gaps writes -1 there, as SAEBench does for a number that it does not have"
        )
    metrics = {part: {name: known.get(name, GAP) for name in names} for part, names in CORE.items()}
    return _document("core", metrics, _core_config(used[0], tokens), used, missing, {})


def _core_numbers(scores: Mapping[str, Score]) -> dict[str, float]:
    same = {name: scores[prop].value for name, prop in SAME_MEASURE.items() if prop in scores}
    rest = {name: _complement(scores[prop].value) for name, prop in COMPLEMENT.items() if prop in scores}
    return {name: value for name, value in (same | rest).items() if value is not None}


def _complement(value: float | None) -> float | None:
    return None if value is None else 1 - value


def _tokens(store: Store, l0: Score | None) -> list[int]:
    """(document,) tokens that were scored; empty where the items do not tell."""
    counts = store.load_items(l0).get("denominator") if l0 is not None else None
    return [] if counts is None else [round(float(count)) for count in counts]


def _core_config(score: Score, tokens: Sequence[int]) -> Json:
    config: Json = {
        "model_name": score.model, "llm_dtype": score.dtype, "dataset": score.corpus, "compute_kl": True,
        "compute_ce_loss": True, "compute_l2_norms": False, "compute_sparsity_metrics": True,
        "compute_variance_metrics": True, "compute_featurewise_density_statistics": False,
        "compute_featurewise_weight_based_metrics": False, "exclude_special_tokens_from_reconstruction": True,
    }  # fmt: skip
    if score.batch_size and tokens:
        batches = -(-len(tokens) // score.batch_size)
        config |= {"batch_size_prompts": score.batch_size, "context_size": max(tokens) + 1}  # BOS is not scored
        config |= {"n_eval_reconstruction_batches": batches, "n_eval_sparsity_variance_batches": batches}
    return config


def _absorption(store: Store, scores: Mapping[str, Score], gaps: bool) -> Json:
    mean: dict[str, float] = {}
    letters: Json = {}
    for name, prop in ABSORPTION.items():
        if prop not in scores:
            raise Left(f"has no score of {prop}")
        if (value := scores[prop].value) is None:
            raise Left(f"is unscored: {scores[prop].unscored_reason}")
        each = _each(store, scores[prop])
        mean |= {f"mean_{name}": value, f"std_dev_{name}": statistics.stdev(each.values())}
        letters[name] = each
    used = [scores[name] for name in (*ABSORPTION.values(), *BESIDE) if name in scores]
    return _document("absorption_first_letter", {"mean": mean}, _absorption_config(used[0]), used, [], letters)


def _each(store: Store, score: Score) -> dict[str, float]:
    """Letter to its value."""
    items = store.load_items(score)
    each: dict[str, float] = {}
    if "item" in items and "contribution" in items:
        each = {str(name): float(value) for name, value in zip(items["item"], items["contribution"], strict=True)}
    if len(each) < 2:
        raise Left(f"has no values of single letters for {score.property}: score it again with this saebench")
    return each


def _absorption_config(score: Score) -> Json:
    from saebench.evidence.words.detectors import JUMP, LARGEST
    from saebench.metrics.first_letter import PROBE_F1

    # The words and their prompts have a name, which stands where SAEBench has the prompt itself.
    return {
        "model_name": score.model, "llm_dtype": score.dtype, "f1_jump_threshold": JUMP, "max_k_value": LARGEST,
        "min_GT_probe_f1": PROBE_F1, "prompt_template": score.corpus, "random_seed": score.seed,
        **({"llm_batch_size": score.batch_size} if score.batch_size else {}),
    }  # fmt: skip


def _document(
    kind: str, metrics: Json, config: Json, scores: Sequence[Score], missing: Sequence[str], letters: Json
) -> Json:
    first, newest = scores[0], max(score.created for score in scores)
    release, _, sae_id = _release(first.sae).partition("/")
    facts = {
        "model_name": first.model, "hook_name": first.hook, "architecture": first.architecture, "d_sae": first.d_sae,
    }  # fmt: skip
    return {
        "eval_type_id": kind, "eval_config": config,
        "eval_id": str(uuid.uuid5(uuid.NAMESPACE_URL, " ".join(["saebench", *(s.identity() for s in scores)]))),
        "datetime_epoch_millis": _milliseconds(newest), "eval_result_metrics": metrics, "eval_result_details": [],
        "sae_bench_commit_hash": f"not SAEBench, but saebench {__version__}", "sae_lens_id": sae_id or None,
        "sae_lens_release_id": release or None, "sae_lens_version": first.versions.get("sae-lens"),
        "sae_cfg_dict": {name: value for name, value in facts.items() if value is not None},
        "eval_result_unstructured": {
            "measured_by": f"saebench {__version__}", "commit": first.commit, "budget": first.budget,
            "sae": first.sae, "sae_digest": first.sae_digest, "model_digest": first.model_digest,
            "scores": {score.property: _uncertain(score) for score in scores},
            "not_measured": list(missing), "per_letter": letters,
        },
    }  # fmt: skip


def _uncertain(score: Score) -> Json:
    names = ("version", "corpus", "value", "ci_low", "ci_high", "n", "n_unit", "unscored_reason")
    return {name: value for name in names if (value := getattr(score, name)) is not None}


@cache
def _release(sae: str) -> str:
    """`RELEASE/SAE_ID` of sae-lens's registry; empty where it is not in there."""
    try:
        (spec,) = resolve(sae)
    except (ValueError, OSError):
        return ""
    return spec.release or ""


def _milliseconds(created: str) -> int:
    try:
        return int(datetime.datetime.fromisoformat(created).timestamp() * 1000)
    except ValueError:
        return 0


def _file_name(document: Json, sae: str) -> str:
    """As SAEBench calls its files."""
    release, sae_id = document["sae_lens_release_id"], document["sae_lens_id"]
    return re.sub(r"[^\w.+~@-]", "_", f"{release}_{sae_id}" if release else sae)[:LONGEST] + "_eval_results.json"
