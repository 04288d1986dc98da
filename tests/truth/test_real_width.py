"""One SAE at the width of the real Gemma Scope, 2,304 by 16,384, from download to scores."""

from functools import cache
from pathlib import Path

import hub_repos
import numpy as np
import pytest
import scope
from hub import serve

D_MODEL, D_SAE, L0 = 2304, 16_384, 105
PLACE = "layer_0/width_16k/average_l0_105/params.npz"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 302 MB, which is served from disk."""
    path = tmp_path_factory.mktemp("real") / "params.npz"
    x = hub_repos.activations_of(model(), hub_repos.documents(8, seed=1), 0)
    path.write_bytes(hub_repos.gemma_scope_npz(D_MODEL, D_SAE, 0, L0, x))
    return path


@cache
def model() -> hub_repos.Files:
    return hub_repos.gemma2_model(D_MODEL, 1, heads=8, head_dim=256, positions=64)


def test_gemma_scope_at_its_real_width(weights: Path, tmp_path: Path) -> None:
    with np.load(weights) as found:
        assert found["W_enc"].shape == (D_MODEL, D_SAE)
    with serve() as hub:
        hub.add(scope.MODEL, model())
        hub.add(scope.SAES, {PLACE: weights})
        hub.add(scope.TEXTS, scope.texts())
        done = scope.pytest_suites(
            hub, tmp_path, "--sae", "gemmascope/2b/layer-0/16k", "--sae-budget", "smoke",
            "-k", "test_reconstruction and (test_fvu or test_l0)",
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found_scores = {score.property: score for score in scope.scores(tmp_path)}
    l0, fvu = (found_scores[f"reconstruction.{name}"].value for name in ("l0", "fvu"))
    assert l0 == pytest.approx(L0, rel=0.25)
    assert fvu is not None
    assert 0.1 < fvu < 0.9
