"""What is exported has SAEBench's fields and types, and no number that was not measured unless it is asked for."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_score
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

from saebench.cli import main
from saebench.exchange.saebench_core import SOURCES, TOKENS
from saebench.record.store import Store

LETTERS = {"A": 0.2, "B": 0.4, "C": 0.9}
STRICT = ConfigDict(extra="forbid", strict=True)


def fields(names, kind: Any = float) -> type[BaseModel]:
    return create_model("Numbers", __config__=STRICT, **dict.fromkeys(names, (kind, ...)))


# Names and types of sae-bench 0.6.0: eval_output.py of base, core and absorption.
Core = create_model(
    "Core",
    __config__=STRICT,
    model_behavior_preservation=(fields(["kl_div_score", "kl_div_with_ablation", "kl_div_with_sae"]), ...),
    model_performance_preservation=(
        fields(["ce_loss_score", "ce_loss_with_ablation", "ce_loss_with_sae", "ce_loss_without_sae"]), ...,
    ),
    reconstruction_quality=(fields(["explained_variance", "explained_variance_legacy", "mse", "cossim"]), ...),
    shrinkage=(fields(["l2_norm_in", "l2_norm_out", "l2_ratio", "relative_reconstruction_bias"]), ...),
    sparsity=(fields(["l0", "l1"]), ...),
    token_stats=(fields(["total_tokens_eval_reconstruction", "total_tokens_eval_sparsity_variance"], int), ...),
    misc_metrics=(
        fields([
            "freq_over_1_percent", "freq_over_10_percent", "normalized_freq_over_1_percent",
            "normalized_freq_over_10_percent", "average_max_encoder_cosine_sim", "average_max_decoder_cosine_sim",
            "frac_alive",
        ]), ...,
    ),
)  # fmt: skip
Mean = fields(
    f"{kind}_{name}"
    for kind in ("mean", "std_dev")
    for name in ("absorption_fraction_score", "full_absorption_score", "num_split_features")
)


class CoreConfig(BaseModel):
    model_config = STRICT
    model_name: str = ""
    llm_dtype: str = ""
    batch_size_prompts: int = 0
    n_eval_reconstruction_batches: int = 0
    n_eval_sparsity_variance_batches: int = 0
    dataset: str = ""
    context_size: int = 0
    compute_kl: bool = False
    compute_ce_loss: bool = False
    compute_l2_norms: bool = False
    compute_sparsity_metrics: bool = False
    compute_variance_metrics: bool = False
    compute_featurewise_density_statistics: bool = False
    compute_featurewise_weight_based_metrics: bool = False
    exclude_special_tokens_from_reconstruction: bool = False
    verbose: bool = False


class AbsorptionConfig(BaseModel):
    model_config = STRICT
    model_name: str = ""
    random_seed: int = 0
    f1_jump_threshold: float = 0
    max_k_value: int = 0
    prompt_template: str = ""
    prompt_token_pos: int = 0
    llm_batch_size: int = 0
    llm_dtype: str = ""
    k_sparse_probe_l1_decay: float = 0
    k_sparse_probe_batch_size: int = 0
    k_sparse_probe_num_epochs: int = 0
    min_GT_probe_f1: float = 0
    min_feats_for_eval: int = 1
    eval_k_sparse_probe_batch_size: int = 0
    precalc_k_sparse_probe_sae_acts: bool = False


class ProbingConfig(BaseModel):
    model_config = STRICT
    model_name: str = ""
    random_seed: int = 0
    dataset_names: list[str] = []
    reg_type: str = ""
    setting: str = ""
    ks: list[int] = []
    binarize: bool = False
    results_path: str = ""
    model_cache_path: str | None = None
    include_llm_baseline: bool = True
    baseline_method: str = ""


class PerturbationConfig(BaseModel):
    """Those of its fields that mean something here; its others are how SAEBench trains probes."""

    model_config = STRICT
    model_name: str = ""
    random_seed: int = 0
    llm_dtype: str = ""
    llm_batch_size: int = 0
    dataset_names: list[str] = []
    perform_scr: bool = True
    n_values: list[int] = []
    column1_vals_lookup: dict[str, list[tuple[str, str]]] = {}


class RavelConfig(BaseModel):
    model_config = STRICT
    model_name: str = ""
    random_seed: int = 0
    llm_dtype: str = ""
    llm_batch_size: int = 0
    entity_attribute_selection: dict[str, list[str]] = {}
    train_mdas: bool = False


KS, NS = (1, 2, 5, 10, 20, 50, 100), (2, 5, 10, 20, 50, 100, 500)
KINDS = ("accuracy", "auc", "f1")
LLM = fields([f"llm_test_{kind}" for kind in KINDS], float | None)
SAE = fields(["sae_test_accuracy", *(f"sae_top_{k}_test_{kind}" for k in KS for kind in KINDS)], float | None)
TPP_NAMES = [f"tpp_threshold_{n}_{name}" for n in NS
             for name in ("total_metric", "intended_diff_only", "unintended_diff_only")]  # fmt: skip
SCR_NAMES = [f"scr_{name}_threshold_{n}" for n in NS for name in ("dir1", "metric", "dir2")]
SHAPES = {
    "core": (CoreConfig, Core),
    "absorption_first_letter": (AbsorptionConfig, create_model("Absorption", __config__=STRICT, mean=(Mean, ...))),
    "sparse_probing_sae_probes": (
        ProbingConfig, create_model("Probing", __config__=STRICT, llm=(LLM, ...), sae=(SAE, ...)),
    ),
    "tpp": (PerturbationConfig, create_model("Tpp", __config__=STRICT, tpp_metrics=(fields(TPP_NAMES, float | None), ...))),
    "scr": (PerturbationConfig, create_model("Scr", __config__=STRICT, scr_metrics=(fields(SCR_NAMES, float | None), ...))),
    "ravel": (
        RavelConfig,
        create_model(
            "Ravel", __config__=STRICT,
            ravel=(fields(["disentanglement_score", "cause_score", "isolation_score"]), ...),
        ),
    ),
}  # fmt: skip
"""Eval to its configuration and its categories of numbers."""


class Output(BaseModel):
    """Nothing of these has a default in SAEBench but the last two."""

    model_config = STRICT
    eval_type_id: str
    eval_config: dict[str, Any]
    eval_id: str
    datetime_epoch_millis: int
    eval_result_metrics: dict[str, Any]
    sae_bench_commit_hash: str
    sae_lens_id: str | None
    sae_lens_release_id: str | None
    sae_lens_version: str | None
    sae_cfg_dict: dict[str, Any] | None
    eval_result_details: list[Any] = []
    eval_result_unstructured: Any = None


def validated(path: Path) -> dict[str, Any]:
    """A document that is of SAEBench's schema."""
    document = json.loads(path.read_text())
    Output.model_validate(document)
    config, metrics = SHAPES[document["eval_type_id"]]
    config.model_validate_json(json.dumps(document["eval_config"]))
    metrics.model_validate(document["eval_result_metrics"])
    return document


TOKEN_COUNTS = np.array([63.0] * 90 + [40.0] * 6)
OLDER = {"fvu": 0.25, "kl": 0.03, "recovered_zero": 0.98, "dead": 0.1, "dense": 0.02}
NEWER = {
    "kl_recovered": (0.97, {"zero_ablation": 9.5}), "ce": (3.25, {"clean": 3.0, "zero_ablation": 12.5}),
    "explained_by_token": (0.7, {}), "mse": (66.5, {}), "token_cosine": (0.93, {}),
    "l2_ratio": (0.91, {"norm_in": 51.0, "norm_out": 46.5}), "relative_bias": (0.99, {}), "l1": (103.5, {}),
    "frequent": (0.45, {}), "share_of_frequent": (0.85, {"dense": 0.15}), "persistence": (3.5, {}),
    "nearest_encoder": (0.3, {"all_latents": 0.35}), "nearest_decoder": (0.4, {"all_latents": 0.45}),
}  # fmt: skip
EXPECTED = {
    "kl_div_score": 0.97, "kl_div_with_ablation": 9.5, "kl_div_with_sae": 0.03, "ce_loss_score": 0.98,
    "ce_loss_with_ablation": 12.5, "ce_loss_with_sae": 3.25, "ce_loss_without_sae": 3.0, "explained_variance": 0.75,
    "explained_variance_legacy": 0.7, "mse": 66.5, "cossim": 0.93, "l2_norm_in": 51.0, "l2_norm_out": 46.5,
    "l2_ratio": 0.91, "relative_reconstruction_bias": 0.99, "l0": 16.5, "l1": 103.5, "freq_over_1_percent": 0.45,
    "freq_over_10_percent": 0.02, "normalized_freq_over_1_percent": 0.85, "normalized_freq_over_10_percent": 0.15,
    "average_max_encoder_cosine_sim": 0.35, "average_max_decoder_cosine_sim": 0.45, "frac_alive": 0.9,
    "total_tokens_eval_reconstruction": 63 * 90 + 40 * 6, "total_tokens_eval_sparsity_variance": 63 * 90 + 40 * 6,
}  # fmt: skip
DENSITY = np.array([0.0, 0.0, 1.0, 0.02, 0.02])


def fill(store: Store, sae: str, *, newer: bool = False, **more: Any) -> None:
    """Scores that both have."""
    made = {"sae": sae, "versions": {"sae-lens": "6.54.12"}, "budget": "quick", "batch_size": 32} | more
    for name, value in OLDER.items():
        store.append(make_score(property=f"reconstruction.{name}", value=value, **made))
    store.append(make_score(property="reconstruction.l0", value=16.5, **made), {"denominator": TOKEN_COUNTS})
    for name, (value, controls) in NEWER.items() if newer else ():
        items = {"density": DENSITY} if name == "frequent" else {}
        store.append(make_score(property=f"reconstruction.{name}", value=value, controls=controls, **made), items)
    items = {"item": np.array(list(LETTERS)), "contribution": np.array(list(LETTERS.values()))}
    for name in ("absorption.full_rate_0_6_0", "absorption.fraction_0_6_0", "first_letter.split_count"):
        store.append(make_score(property=name, value=0.5, **made), items)


def numbers(document: dict[str, Any]) -> dict[str, float]:
    return {name: value for part in document["eval_result_metrics"].values() for name, value in part.items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "scores.jsonl")


def exported(store: Store, *options: str) -> Path:
    target = store.path.with_name("json")
    assert main(["export", str(store.path), "--to", str(target), *options]) == 0
    return target


def test_absorption(store: Store, capsys):
    fill(store, "zoo/a b")
    target = exported(store)
    assert [path.name for path in target.rglob("*.json")] == ["zoo_a_b_eval_results.json"]
    document = validated(target / "absorption" / "zoo_a_b_eval_results.json")
    mean = document["eval_result_metrics"]["mean"]
    assert mean["mean_full_absorption_score"] == mean["mean_num_split_features"] == 0.5
    assert mean["std_dev_absorption_fraction_score"] == pytest.approx(statistics.stdev(LETTERS.values()))
    beside = document["eval_result_unstructured"]
    assert beside["per_letter"]["full_absorption_score"] == LETTERS
    assert beside["budget"] == "quick"
    assert beside["scores"]["absorption.full_rate_0_6_0"]["ci_high"] == pytest.approx(0.538)
    assert document["sae_bench_commit_hash"].startswith("not SAEBench, but saebench")
    out = capsys.readouterr().out
    assert (
        "core of zoo/a b is not written: it lacks 18 of the numbers that SAEBench's schema demands, kl_div_score" in out
    )


def test_core_with_gaps(store: Store):
    fill(store, "zoo/a")
    document = validated(exported(store, "--gaps") / "core" / "zoo_a_eval_results.json")
    found = numbers(document)
    known = {
        "kl_div_with_sae": 0.03, "ce_loss_score": 0.98, "explained_variance": 0.75, "l0": 16.5,
        "freq_over_10_percent": 0.02, "frac_alive": 0.9, "total_tokens_eval_reconstruction": 63 * 90 + 40 * 6,
        "total_tokens_eval_sparsity_variance": 63 * 90 + 40 * 6,
    }  # fmt: skip
    assert {name: value for name, value in found.items() if value != -1} == pytest.approx(known)
    missing = document["eval_result_unstructured"]["not_measured"]
    assert sorted([*missing, *known]) == sorted(EXPECTED)
    assert document["eval_config"]["context_size"] == 64
    assert document["eval_config"]["n_eval_reconstruction_batches"] == 3


def test_equal_scores_give_equal_files(store: Store):
    fill(store, "zoo/a")
    first = {path: path.read_bytes() for path in exported(store, "--gaps").rglob("*.json")}
    assert {path: path.read_bytes() for path in exported(store, "--gaps").rglob("*.json")} == first
    assert len(first) == 2


def test_sae_lens_names_say_where_it_is_from(store: Store):
    fill(store, "gemmascope/2b/layer-12/16k")
    (path,) = exported(store).rglob("*.json")
    document = validated(path)
    assert document["sae_lens_release_id"] == "gemma-scope-2b-pt-res-canonical"
    assert document["sae_lens_id"] == "layer_12/width_16k/canonical"
    assert path.name == "gemma-scope-2b-pt-res-canonical_layer_12_width_16k_canonical_eval_results.json"


def test_repetitions_controls_and_the_unscored_have_no_file(store: Store, capsys):
    fill(store, "zoo/random", control=True)
    fill(store, "zoo/again", seed=1)
    assert main(["export", str(store.path), "--to", str(store.path.with_name("json"))]) == 4
    store.append(make_score(sae="zoo/a", property="absorption.fraction_0_6_0", unscored="too few letters"))
    assert main(["export", str(store.path), "--to", str(store.path.with_name("json"))]) == 4
    assert "absorption of zoo/a is not written: it is unscored: too few letters" in capsys.readouterr().out
    assert not store.path.with_name("json").exists()


def test_names_stay_in_their_folder(store: Store, capsys):
    fill(store, "../../動物園/α")
    (path,) = exported(store).rglob("*.json")
    assert path.parent == store.path.with_name("json") / "absorption"
    assert path.name == ".._.._動物園_α_eval_results.json"
    fill(store, "../../動物園_α")
    assert main(["export", str(store.path), "--to", str(store.path.with_name("json"))]) == 4
    assert "two SAEs would write absorption/.._.._動物園_α_eval_results.json" in capsys.readouterr().err


def test_bad_input_is_one_sentence(store: Store, capsys):
    assert main(["export", "nowhere.jsonl", "--to", "x"]) == 4
    fill(store, "zoo/a")
    for path in store.items_dir.iterdir():
        path.unlink()
    assert main(["export", str(store.path), "--to", str(store.path.with_name("json"))]) == 4
    assert capsys.readouterr().err.count("\n") == 2
    assert main(["export", str(store.path), "--to", str(store.path)]) == 4


def test_all_of_core(store: Store):
    fill(store, "zoo/a", newer=True)
    document = validated(exported(store) / "core" / "zoo_a_eval_results.json")
    assert numbers(document) == pytest.approx(EXPECTED)
    assert len(EXPECTED) == 26
    beside = document["eval_result_unstructured"]
    assert beside["not_measured"] == []
    assert "divides by the number of tokens of a batch" in beside["definitions"]["mse"]
    density = beside["feature_density"]
    assert density["dead"] == 2
    assert dict(zip(density["log10_edges"], density["latents"], strict=False)) | {-2.0: 2, -0.5: 1} == dict(
        zip(density["log10_edges"], density["latents"], strict=False)
    )
    assert sum(density["latents"]) == 3
    flags = {name: value for name, value in document["eval_config"].items() if name.startswith("compute_")}
    assert all(flags.values())


def test_one_number_that_is_missing_is_said_or_a_gap(store: Store, capsys):
    fill(store, "zoo/a", newer=True)
    unscored = make_score(
        sae="zoo/a", property="reconstruction.nearest_encoder", unscored="no W_enc", created="2026-02-01"
    )
    store.append(unscored)
    exported(store)
    assert "lacks 1 of the numbers that SAEBench's schema demands, average_max_encoder_cosine_sim; --gaps" in (
        capsys.readouterr().out
    )
    document = validated(exported(store, "--gaps") / "core" / "zoo_a_eval_results.json")
    assert {name for name, value in numbers(document).items() if value == -1} == {"average_max_encoder_cosine_sim"}
    assert "average_max_encoder_cosine_sim" not in document["eval_result_unstructured"]["definitions"]


SETS = {"topic: animal": 0.75, "home: Asia": 0.5}


def put(store: Store, prop: str, value: float, items: dict[str, float], **more: Any) -> None:
    arrays = {"item": np.array(list(items)), "contribution": np.array(list(items.values()))}
    store.append(make_score(property=prop, value=value, sae="zoo/a", batch_size=16, **more), arrays)


def fill_probing(store: Store) -> None:
    how = {"pooling": "last", "selection": "deviation"}
    for k, value in ((1, 0.6), (2, 0.65), (16, 0.9)):
        put(store, "sparse_probing.auc", value, SETS, params={"k": k} | how)
        put(store, "sparse_probing.auc", 0.99, SETS, params={"k": k, "pooling": "mean", "selection": "deviation"})
        put(store, "sparse_probing.auc", 0.98, SETS, params={"k": k, "pooling": "last", "selection": "published"})
        put(store, "sparse_probing.f1", value - 0.1, SETS, params={"k": k}, ceiling=0.8)
    put(store, "sparse_probing.dense_auc", 0.95, {"home: Asia": 0.9}, params={"pooling": "last"})
    put(store, "sparse_probing.auc_all", 0.92, SETS)


def fill_perturbation(store: Store) -> None:
    for n, value in ((2, 0.0625), (100, 0.25), (16, 0.5)):
        put(store, "probe_perturbation.tpp", value, SETS, params={"n": n})
        put(store, "probe_perturbation.tpp_redrawn", 0.9, SETS, params={"n": n})
        store.append(
            make_score(sae="zoo/a", property="probe_perturbation.scr", value=value, params={"n": n, "put": "zero"})
        )
        store.append(
            make_score(sae="zoo/a", property="probe_perturbation.scr", value=0.9, params={"n": n, "put": "mean"})
        )


def fill_ravel(store: Store, chosen: str, value: float) -> None:
    items = {"people/home/1": 0.5, "people/home/2": 0.75, "towns/language/1": 0.25}
    for name, more in (("score", 0.0), ("cause", 0.125), ("isolation", -0.125)):
        params = {"chosen": chosen, "error": "dropped"}
        put(store, f"disentanglement.{name}", value + more, items, params=params, corpus="entities/x")
        put(store, f"disentanglement.{name}", 0.9, items, params=params | {"error": "kept"}, corpus="entities/x")


def test_probing_has_auc_and_f1_and_no_accuracy(store: Store):
    fill_probing(store)
    document = validated(exported(store) / "sparse_probing_sae_probes" / "zoo_a_eval_results.json")
    known = {name: value for name, value in numbers(document).items() if value is not None}
    assert known == {
        "llm_test_auc": 0.95, "llm_test_f1": 0.8, "sae_top_1_test_auc": 0.6, "sae_top_2_test_auc": 0.65,
        "sae_top_1_test_f1": 0.5, "sae_top_2_test_f1": pytest.approx(0.55),
    }  # fmt: skip
    details = {detail["dataset_name"]: detail for detail in document["eval_result_details"]}
    assert details["home: Asia"]["llm_test_auc"] == 0.9
    assert details["topic: animal"]["llm_test_auc"] is None
    assert details["topic: animal"]["sae_top_2_test_f1"] == 0.75
    assert document["eval_config"]["ks"] == [1, 2]
    assert set(document["eval_config"]["dataset_names"]) == set(SETS)
    assert document["eval_result_unstructured"]["sae_test_auc"] == 0.92
    assert len(document["eval_result_unstructured"]["scores"]) == 14


def test_tpp_and_scr_are_the_paired_and_the_published_one(store: Store):
    fill_perturbation(store)
    target = exported(store)
    for kind, name in (("tpp", "tpp_threshold_{}_total_metric"), ("scr", "scr_metric_threshold_{}")):
        document = validated(target / kind / "zoo_a_eval_results.json")
        known = {key: value for key, value in numbers(document).items() if value is not None}
        assert known == {name.format(2): 0.0625, name.format(100): 0.25}
        assert document["eval_config"]["n_values"] == [2, 100]
        assert document["eval_config"]["perform_scr"] is (kind == "scr")
        (detail,) = document["eval_result_details"]
        assert detail == {"dataset_name": "organism/test", **numbers(document)}


def test_ravel_is_of_masks_where_there_are_any(store: Store):
    fill_ravel(store, "gradient", 0.625)
    path = exported(store) / "ravel" / "zoo_a_eval_results.json"
    first = validated(path)
    assert numbers(first) == {"disentanglement_score": 0.625, "cause_score": 0.75, "isolation_score": 0.5}
    assert "not by a mask" in first["eval_result_unstructured"]["definitions"]["disentanglement_score"]
    assert first["eval_config"]["entity_attribute_selection"] == {"people": ["home"], "towns": ["language"]}
    fill_ravel(store, "mask", 0.75)
    exported(store)
    second = validated(path)
    assert numbers(second) == {"disentanglement_score": 0.75, "cause_score": 0.875, "isolation_score": 0.625}
    assert "not by" not in second["eval_result_unstructured"]["definitions"]["disentanglement_score"]


def test_what_is_unscored_is_left_out_with_its_reason(store: Store, capsys):
    fill_probing(store)
    params = {"n": 2, "put": "zero"}
    store.append(make_score(sae="zoo/a", property="probe_perturbation.scr", unscored="no pairs", params=params))
    exported(store)
    out = capsys.readouterr().out
    assert "scr of zoo/a is not written: it is unscored: no pairs" in out
    assert "tpp of zoo/a is not written: it has no score of probe_perturbation.tpp" in out


OFFICIAL = {
    "core": ("core", "CoreEvalOutput"), "absorption": ("absorption", "AbsorptionEvalOutput"),
    "sparse_probing_sae_probes": ("sparse_probing_sae_probes", "SparseProbingSaeProbesEvalOutput"),
    "tpp": ("scr_and_tpp", "TppEvalOutput"), "scr": ("scr_and_tpp", "ScrEvalOutput"),
    "ravel": ("ravel", "RAVELEvalOutput"),
}  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL)
def test_sae_bench_itself_reads_it(store: Store, name: str):
    """Where the package is installed, or lies in the path: its own classes accept a document, and know all of its names."""
    module, kind = OFFICIAL[name]
    outputs = pytest.importorskip(f"sae_bench.evals.{module}.eval_output", exc_type=ImportError)
    fill(store, "zoo/a", newer=True)
    fill_probing(store)
    fill_perturbation(store)
    fill_ravel(store, "gradient", 0.625)
    document = json.loads((exported(store) / name / "zoo_a_eval_results.json").read_text())
    read = TypeAdapter(getattr(outputs, kind)).validate_python(document)
    again = json.loads(read.to_json())
    assert again["eval_type_id"] == document["eval_type_id"]
    assert again["eval_result_metrics"] == document["eval_result_metrics"]
    assert set(document["eval_config"]) <= set(again["eval_config"])
    assert all(set(detail) <= set(other) for detail, other in zip(
        document["eval_result_details"], again["eval_result_details"], strict=True))  # fmt: skip


def test_the_schema_above_can_refuse():
    made = {part: dict.fromkeys(names, 1.0) for part, names in SOURCES.items()} | {
        "token_stats": dict.fromkeys(TOKENS, 1)
    }
    Core.model_validate(made)
    with pytest.raises(ValueError, match="l1"):
        Core.model_validate(made | {"sparsity": {"l0": 1.0}})
