"""SAEBench's `absorption_first_letter`: means and spreads over letters."""

import statistics

from saebench.exchange.saebench_document import Json, Left, Measured, Part, model_config
from saebench.record.score import Score

ABSORPTION = {
    "absorption_fraction_score": "absorption.fraction_0_6_0", "full_absorption_score": "absorption.full_rate_0_6_0",
    "num_split_features": "first_letter.split_count",
}  # fmt: skip
BESIDE = ("absorption.fraction_0_3_2",)
"""Not in the schema, and what its published results of January 2025 call the fraction."""


def absorption(sae: Measured, gaps: bool) -> Part:
    mean: dict[str, float] = {}
    letters: Json = {}
    for name, prop in ABSORPTION.items():
        score = sae.get(prop)
        if score is None or score.value is None:
            raise Left(sae.unscored([prop]))
        letters[name] = each = sae.by_item(prop)
        if len(each) < 2:
            raise Left(f"has no values of single letters for {prop}: score it again with this saebench")
        mean |= {f"mean_{name}": score.value, f"std_dev_{name}": statistics.stdev(each.values())}
    used = [score for name in (*ABSORPTION.values(), *BESIDE) if (score := sae.get(name)) is not None]
    return Part(
        kind="absorption_first_letter", config=_config(used[0]), metrics={"mean": mean}, scores=used,
        beside={"per_letter": letters},
    )  # fmt: skip


def _config(score: Score) -> Json:
    from saebench.evidence.words.detectors import JUMP, LARGEST
    from saebench.metrics.first_letter import PROBE_F1

    # The words and their prompts have a name, which stands where SAEBench has the prompt itself.
    return {
        **model_config(score), "f1_jump_threshold": JUMP, "max_k_value": LARGEST, "min_GT_probe_f1": PROBE_F1,
        "prompt_template": score.corpus,
    }  # fmt: skip
