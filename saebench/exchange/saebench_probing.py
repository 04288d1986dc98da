"""SAEBench's `sparse_probing_sae_probes`: what k latents, and the activation, tell of labelled texts, in AUC and F1.

Its other eval of probing, `sparse_probing`, is of accuracy, which is not measured here.
"""

from collections.abc import Sequence

from saebench.exchange.saebench_document import Json, Left, Measured, Part, model_config
from saebench.record.score import Score

KS = (1, 2, 5, 10, 20, 50, 100)
"""That the schema has names for."""
AUC, F1, DENSE, ALL = (f"sparse_probing.{name}" for name in ("auc", "f1", "dense_auc", "auc_all"))
HOW = {"pooling": "last", "selection": "deviation"}
DEFINITIONS = {
    "sae_top_k_test_auc": "latents chosen by their classes' difference in units of their deviation, for all k alike",
    "llm_test_f1": "with the weighted F1 of both classes, as sae-probes has it",
}


def probing(sae: Measured, gaps: bool) -> Part:
    dense, metrics = sae.get(DENSE, pooling="last"), _sae(sae)
    if not any(value is not None for value in metrics.values()):
        raise Left(sae.unscored([AUC, F1]))
    used = [score for (name, _), score in sae.scores.items() if name in (AUC, F1, DENSE, ALL)]
    llm = {
        "llm_test_accuracy": None, "llm_test_auc": None if dense is None else dense.value,
        "llm_test_f1": next((score.ceiling for k in KS if (score := sae.get(F1, k=k)) is not None), None),
    }  # fmt: skip
    details = _details(sae)
    return Part(
        kind="sparse_probing_sae_probes", config=_config(sae, used, details), metrics={"llm": llm, "sae": metrics},
        scores=used, details=details, definitions=DEFINITIONS, beside={"sae_test_auc": sae.value(ALL)},
    )  # fmt: skip


def _sae(sae: Measured) -> dict[str, float | None]:
    found: dict[str, float | None] = {"sae_test_accuracy": None}
    for k in KS:
        found[f"sae_top_{k}_test_accuracy"] = None
        found[f"sae_top_{k}_test_auc"] = sae.value(AUC, k=k, **HOW)
        found[f"sae_top_{k}_test_f1"] = sae.value(F1, k=k)
    return found


def _details(sae: Measured) -> list[Json]:
    """One object per labelled set."""
    columns = {"llm_test_auc": sae.by_item(DENSE, pooling="last")}
    columns |= {f"sae_top_{k}_test_auc": sae.by_item(AUC, k=k, **HOW) for k in KS}
    columns |= {f"sae_top_{k}_test_f1": sae.by_item(F1, k=k) for k in KS}
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [{"dataset_name": name, **{key: column.get(name) for key, column in columns.items()}} for name in names]


def _config(sae: Measured, scores: Sequence[Score], details: Sequence[Json]) -> Json:
    own = next(score for score in scores if score.params.get("pooling", "last") == "last")
    config = {name: value for name, value in model_config(own, batch=False).items() if name != "llm_dtype"}
    ks = [k for k in KS if sae.value(AUC, k=k, **HOW) is not None]
    names = [detail["dataset_name"] for detail in details] or [own.corpus]
    return {
        **config,
        "dataset_names": names,
        "reg_type": "l2",
        "ks": ks,
        "binarize": False,
        "include_llm_baseline": True,
    }
