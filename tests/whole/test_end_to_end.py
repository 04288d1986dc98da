"""`pytest suites/ --sae gemmascope` from download to leaderboard, against a stand-in of the hub, in processes of their own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import scope
from hub import Hub, serve
from rewritten import cases

from saebench import cli

SMOKE = ("--sae-budget", "smoke")
SAES = ("16k", "16k/l0-41", "16k/l0-176", "65k")
EXPECTED = len(SAES) * len(cases())
"""Scores: every test of every suite for every SAE that the family stands for."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with serve() as found:
        scope.fill(found)
        scope.fill_others(found)
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def whole(hub: Hub, folder: Path) -> str:
    """What a user sees of the whole run."""
    done = scope.pytest_suites(hub, folder, "--sae", "gemmascope", *SMOKE)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_all_suites_run_on_all_saes(whole: str, folder: Path) -> None:
    assert re.search(
        rf"saebench: {EXPECTED} scores expected, \d+ recorded \(0 from earlier runs\), \d+ unscored", whole
    )
    found = scope.scores(folder)
    assert len(found) == EXPECTED
    names = {score.sae for score in found}
    assert names == {f"gemmascope/2b/layer-12/{name}" for name in SAES}
    assert not any(score.broken for score in found)
    scored = {(score.property, score.sae) for score in found if score.value is not None}
    certain = [score for score in found if score.property.startswith("reconstruction.")]
    recovered = [score for score in certain if ".recovered_" in score.property]
    assert len(certain) - len(recovered) == len(SAES) * 21
    assert {(score.property, score.sae) for score in certain} - {(s.property, s.sae) for s in recovered} <= scored
    # The stand-in model is untrained: without its activations it predicts no worse.
    assert len(recovered) == len(SAES) * 2
    assert all("does not raise the model's loss" in str(score.unscored_reason) for score in recovered)
    assert any(name.startswith("distinguishability.") for name, _ in scored)
    assert all(score.unscored_reason for score in found if score.value is None)


def test_what_is_fetched_is_said_first_with_its_size(whole: str) -> None:
    said = [line for line in whole.splitlines() if line.startswith("saebench: fetching")]
    assert re.match(r"saebench: fetching [\d.]+ MB: the SAE gemmascope/2b/layer-12/16k/l0-41, ", said[0])
    assert said[1].endswith("the model google/gemma-2-2b, the texts NeelNanda/pile-10k")


def test_scores_say_what_they_were_measured_with(hub: Hub, whole: str, folder: Path) -> None:
    for score in scope.scores(folder):
        assert score.model == scope.MODEL
        assert score.hook == "blocks.12.hook_resid_post"
        assert set(score.revisions) == {"sae", "model", "corpus"}
        assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in score.revisions.values())
        assert (score.device, score.dtype, score.batch_size) == ("cpu", "float32", 16)
    of_their_own = ("words/", "labels@", "entities/")
    corpora = {score.corpus for score in scope.scores(folder) if not score.corpus.startswith(of_their_own)}
    read = f"NeelNanda/pile-10k@{score.revisions['corpus'][:12]}/train/"
    assert f"{read}10x160" in corpora
    # Questions, phrases and examples are made of the same texts, and their names say so.
    assert all(read in corpus for corpus in corpora)


def test_l0_is_that_of_the_sae(whole: str, folder: Path) -> None:
    found = {s.sae: s.value for s in scope.scores(folder) if s.property == "reconstruction.l0"}
    for name, l0 in {"16k/l0-41": 10, "16k": 20, "16k/l0-176": 40, "65k": 20}.items():
        assert found[f"gemmascope/2b/layer-12/{name}"] == pytest.approx(l0, rel=0.1)


def test_a_second_run_asks_the_hub_nothing_and_computes_nothing(hub: Hub, whole: str, folder: Path) -> None:
    asked = len(hub.log)
    done = scope.pytest_suites(hub, folder, "--sae", "gemmascope", *SMOKE, HF_HUB_OFFLINE="1")
    assert re.search(rf"{EXPECTED} scores expected, (\d+) recorded \({EXPECTED} from earlier runs\)", done.stdout), (
        done.stdout[-2000:]
    )
    assert len(hub.log) == asked


def test_the_leaderboard_has_all_of_them(whole: str, folder: Path) -> None:
    boards = folder / "boards"
    assert cli.main(["publish", str(folder / "scores.jsonl"), "--to", str(boards)]) == 0
    page = (boards / "scores.md").read_text()
    assert page.count("| gemmascope/2b/layer-12/65k ") >= 8
    assert "google/gemma-2-2b" in page


OTHERS = {
    "gpt2/bloom/layer-8/resid_pre": (scope.GPT2, "blocks.8.hook_resid_pre"),
    "gemmascope/v2-270m-pt/layer-12/16k/l0-medium": (scope.GEMMA3, "blocks.12.hook_resid_post"),
    "gemmascope/v2-270m-pt/all/transcoder/layer-12/16k/l0-big-affine": (scope.GEMMA3, "blocks.12.ln2.hook_out"),
    "saebench/gemma-2-2b/2pow12/BatchTopK/trainer-2": (scope.MODEL, "blocks.12.hook_resid_post"),
}

OWN = "(test_reconstruction or test_context_length)"
"""Scores of the same name in other suites are of controls."""


def test_other_families_models_and_formats(hub: Hub, tmp_path: Path) -> None:
    names = [argument for name in OTHERS for argument in ("--sae", name)]
    done = scope.pytest_suites(
        hub, tmp_path, *names, *SMOKE, "-k", f"{OWN} and (test_fvu or test_kl_inside) or test_split_f1 or test_auc"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = {(score.sae, score.property): score for score in scope.scores(tmp_path)}
    for name, (model, hook) in OTHERS.items():
        score = found[name, "reconstruction.fvu"]
        assert (score.model, score.hook) == (model, hook)
        assert score.value is not None
    # Bloom's were trained at context 128, and GPT-2 has more positions here.
    inside = found["gpt2/bloom/layer-8/resid_pre", "context_length.kl_inside"]
    assert re.search(r"FVU of 0\.8\d", str(inside.unscored_reason)), inside
    transcoder = found["gemmascope/v2-270m-pt/all/transcoder/layer-12/16k/l0-big-affine", "distinguishability.auc"]
    assert "a transcoder reads blocks.12.ln2.hook_out and writes blocks.12.hook_mlp_out" in str(
        transcoder.unscored_reason
    )
