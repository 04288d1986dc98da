"""What is exported has SAEBench's fields and types, and no number that was not measured unless it is asked for."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import make_score
from pydantic import BaseModel, ConfigDict, create_model

from saebench.cli import main
from saebench.exchange.saebench_json import CORE
from saebench.record.store import Store

LETTERS = {"A": 0.2, "B": 0.4, "C": 0.9}
STRICT = ConfigDict(extra="forbid", strict=True)


def fields(names, kind: type = float) -> type[BaseModel]:
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
    core = document["eval_type_id"] == "core"
    (CoreConfig if core else AbsorptionConfig).model_validate(document["eval_config"])
    metrics = document["eval_result_metrics"]
    Core.model_validate(metrics) if core else Mean.model_validate(metrics["mean"])
    return document


def fill(store: Store, sae: str, **more: Any) -> None:
    """Scores that both have."""
    made = {"sae": sae, "versions": {"sae-lens": "6.54.12"}, "budget": "quick", "batch_size": 32} | more
    tokens = {"denominator": np.array([63.0] * 90 + [40.0] * 6)}
    for name, value in (("fvu", 0.25), ("kl", 0.03), ("recovered_zero", 0.98), ("dead", 0.1), ("dense", 0.02)):
        store.append(make_score(property=f"reconstruction.{name}", value=value, **made))
    store.append(make_score(property="reconstruction.l0", value=16.5, **made), tokens)
    items = {"item": np.array(list(LETTERS)), "contribution": np.array(list(LETTERS.values()))}
    for name in ("absorption.full_rate_0_6_0", "absorption.fraction_0_6_0", "first_letter.split_count"):
        store.append(make_score(property=name, value=0.5, **made), items)


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
    assert "core of zoo/a b is not written: it lacks 18 numbers that SAEBench's schema demands, kl_div_score" in out


def test_core_with_gaps(store: Store):
    fill(store, "zoo/a")
    document = validated(exported(store, "--gaps") / "core" / "zoo_a_eval_results.json")
    numbers = {name: value for part in document["eval_result_metrics"].values() for name, value in part.items()}
    known = {
        "kl_div_with_sae": 0.03, "ce_loss_score": 0.98, "explained_variance": 0.75, "l0": 16.5,
        "freq_over_10_percent": 0.02, "frac_alive": 0.9, "total_tokens_eval_reconstruction": 63 * 90 + 40 * 6,
        "total_tokens_eval_sparsity_variance": 63 * 90 + 40 * 6,
    }  # fmt: skip
    assert {name: value for name, value in numbers.items() if value != -1} == pytest.approx(known)
    missing = document["eval_result_unstructured"]["not_measured"]
    assert sorted([*missing, *known]) == sorted(name for names in CORE.values() for name in names)
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


def test_the_schema_above_can_refuse():
    with pytest.raises(ValueError, match="l1"):
        Core.model_validate({part: dict.fromkeys(names, 1) for part, names in CORE.items()} | {"sparsity": {"l0": 1.0}})
